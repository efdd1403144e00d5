"""A tessera-server and loads on it, as the benches need them."""
import json
import os
import pathlib
import re
import subprocess
import tempfile

import models

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BUILD", ROOT / "build/release")).resolve()


def tell(bench: str, **figures) -> None:
    """A line of a bench, as table.py reads it."""
    print(json.dumps({"bench": bench, **figures}), flush=True)


class Server:
    """Ready when the constructor returns; ended by the with statement."""

    def __init__(self, *flags: str, model: pathlib.Path = models.BUNDLED):
        self.log = tempfile.TemporaryFile(mode="w+")
        self.process = subprocess.Popen(
            [BUILD / "bin/tessera-server", "--model", model, "--grpc-port", "0", *flags],
            stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.target = ""
        for line in self.process.stdout:
            found = re.match(r"ready: .* on (\S+)$", line)
            if found:
                self.target = found.group(1)
                break
        if not self.target:
            self.log.seek(0)
            raise RuntimeError(f"tessera-server did not get ready:\n{self.log.read()}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(timeout=60)
        self.process.stdout.close()
        self.log.close()

    def tessera(self, *arguments) -> subprocess.Popen:
        return subprocess.Popen([BUILD / "bin/tessera", "--target", self.target, *map(str, arguments)],
                                stdout=subprocess.PIPE, text=True)

    def status(self) -> dict:
        return json.loads(self.tessera("status", "--json").communicate()[0])

    def bench(self, *arguments) -> dict:
        """What `tessera bench --json` says; failed requests are an error."""
        process = self.tessera("bench", "--json", *arguments)
        output = process.communicate()[0]
        if process.returncode:
            raise RuntimeError(f"tessera bench {arguments} ended with {process.returncode}: {output}")
        return json.loads(output)

    def memory(self) -> int:
        """Resident bytes of the server's own process."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", text).group(1)) * 1024

    def cpu_seconds(self) -> float:
        """Of the server's own process, all of its threads."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def grown(result: dict, key: str) -> float:
    """By how much a figure of the engine grew during a load."""
    server = result["server"]
    return server["after"]["engine"][key] - server["before"]["engine"][key]


def idle_fraction(result: dict) -> float:
    """The part of the ranks' time in which they waited for a step."""
    def total(when: str, key: str) -> float:
        return sum(rank[key] for group in result["server"][when]["groups"] for rank in group["ranks"])
    busy = total("after", "busy_seconds") - total("before", "busy_seconds")
    idle = total("after", "idle_seconds") - total("before", "idle_seconds")
    return idle / (idle + busy)


def sim(fixed_us: float, token_us: float = 0, *flags: str) -> list:
    return ["--device", "sim", "--sim-fixed-us", str(fixed_us), "--sim-token-us", str(token_us), *flags]
