"""A tessera-server for a test, and where the programs and files are."""

import json
import os
import pathlib
import re
import signal
import subprocess
import threading

SOURCE = pathlib.Path(os.environ["TESSERA_SOURCE"])
BIN = pathlib.Path(os.environ["TESSERA_BIN"])
HANG_LIMIT = 120  # seconds; not a timing: what takes longer is taken for hung


def golden(prompt):
    """The case of the bundled model's golden.json with this prompt."""
    cases = json.loads((SOURCE / "deploy/models/demo/golden.json").read_text())["cases"]
    return next(case for case in cases if case.get("prompt") == prompt)


class Server:
    """Serves the bundled model on a free port until stop(), or the end of the process."""

    def __init__(self, *flags):
        self.process = subprocess.Popen(
            [BIN / "tessera", "serve", "--grpc-port", "0", *flags],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.log = []
        self.target = None
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._ready.wait(HANG_LIMIT) or self.target is None:
            self._end()
            raise AssertionError("the server is not ready; its log:\n" + "".join(self.log))

    def _read(self):
        for line in self.process.stdout:
            self.log.append(line)
            found = re.search(r"ready: .* on (\S+)$", line.rstrip())
            if found and self.target is None:
                self.target = found.group(1)
                self._ready.set()
        self._ready.set()

    def stop(self):
        """Ends it as an operator would; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(HANG_LIMIT)
        finally:
            self._end()

    def _end(self):
        self.process.kill()
        self.process.wait()
        self._reader.join()
        self.process.stdout.close()


def run(*command, stdin="", env=None):
    """Runs a program to its end: (exit code, standard output, standard error)."""
    done = subprocess.run([str(word) for word in command], input=stdin, capture_output=True,
                          text=True, timeout=HANG_LIMIT, env={**os.environ, **(env or {})})
    return done.returncode, done.stdout, done.stderr
