#!/usr/bin/env python3
"""Two hosts: network namespaces joined by a veth pair, no loopback between them. Server and worker 0
live in one, worker 1 in the other; they serve tp=2 over Gloo with the bundled model's golden tokens, and a
wrong secret is refused on either side."""
import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

OPTIONS = None
HANG = 60  # seconds after which something that should have happened is taken for hung
TAG = f"tsr{os.getpid() % 100000}"
HOSTS = {TAG + "a": "10.99.7.1", TAG + "b": "10.99.7.2"}
FIRST, SECOND = HOSTS
STRANGER = pathlib.Path(__file__).with_name("stranger.py")


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def make_hosts():
    for name in HOSTS:
        ip("netns", "add", name)
    ip("link", "add", TAG + "0", "type", "veth", "peer", "name", TAG + "1")
    for end, name in ((TAG + "0", FIRST), (TAG + "1", SECOND)):
        ip("link", "set", end, "netns", name)
        ip("-n", name, "link", "set", end, "name", "eth0")
        ip("-n", name, "addr", "add", HOSTS[name] + "/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
    # The first host's own clients reach its server over its own address, which needs lo to be up.
    ip("-n", FIRST, "link", "set", "lo", "up")


def remove_hosts():
    for name in HOSTS:
        subprocess.run(["ip", "netns", "del", name], capture_output=True)


class Process:
    """A program inside a host, its output in a file, ended with the test."""

    def __init__(self, test, host, *command):
        self.log = tempfile.NamedTemporaryFile("r+", suffix=".log")
        self.process = subprocess.Popen(["ip", "netns", "exec", host, *map(str, command)],
                                        stdout=self.log, stderr=subprocess.STDOUT)
        test.addCleanup(self.stop)

    def text(self):
        return pathlib.Path(self.log.name).read_text()

    def wait_for(self, words):
        """Returns once one of `words` is in the log; fails the test where it is not in time."""
        deadline = time.monotonic() + HANG
        while time.monotonic() < deadline:
            if any(word in self.text() for word in words):
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError(f"none of {words} came; the log says:\n{self.text()}")

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class TwoHosts(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def secret(self, name, content):
        path = pathlib.Path(self.folder.name) / name
        path.write_text(content)
        path.chmod(0o600)
        return path

    def workers(self, secret, ports):
        for host, port in zip(HOSTS, ports):
            worker = Process(self, host, OPTIONS.bin / "tessera-worker", "--listen",
                             f"{HOSTS[host]}:{port}", "--secret-file", secret)
            worker.wait_for(["listening"])
        return ",".join(f"{HOSTS[host]}:{port}" for host, port in zip(HOSTS, ports))

    def server(self, workers, secret, *flags):
        return Process(self, FIRST, OPTIONS.bin / "tessera-server", "--model",
                       OPTIONS.source / "deploy/models/demo/model", "--tp", 2, "--dtype", "f32",
                       "--comm", "gloo", "--workers", workers, "--secret-file", secret,
                       "--collective-interface", "eth0", "--host", HOSTS[FIRST], "--grpc-port", 8001, *flags)

    def complete(self, *flags):
        return [*map(str, ["ip", "netns", "exec", FIRST, OPTIONS.bin / "tessera", "--target",
                           f"{HOSTS[FIRST]}:8001", "complete", "Once upon a time", *flags])]

    def test_serves_the_golden_tokens(self):
        secret = self.secret("secret", "correct horse battery staple")
        server = self.server(self.workers(secret, (9100, 9101)), secret)
        server.wait_for(["ready: "])
        golden = json.loads((OPTIONS.source / "deploy/models/demo/golden.json").read_text())
        case = next(case for case in golden["cases"] if case["kind"] == "plain")
        answer = subprocess.run(
            ["ip", "netns", "exec", FIRST, OPTIONS.bin / "tessera", "--target",
             f"{HOSTS[FIRST]}:8001", "complete", case["prompt"], "--temperature", "0",
             "--max-tokens", str(len(case["output_ids"])), "--json"],
            capture_output=True, text=True, timeout=HANG)
        self.assertEqual(answer.returncode, 0, answer.stderr)
        self.assertEqual(json.loads(answer.stdout)["sequences"][0]["token_ids"], case["output_ids"])

    def test_a_cut_link_only_delays_a_stream(self):
        secret = self.secret("secret", "correct horse battery staple")
        server = self.server(self.workers(secret, (9120, 9121)), secret, "--step-timeout", 1)
        server.wait_for(["ready: "])
        flags = ["--seed", 7, "--temperature", 1, "--max-tokens", 200, "--ignore-eos"]
        undisturbed = subprocess.run(self.complete(*flags), capture_output=True, timeout=HANG)
        self.assertEqual(undisturbed.returncode, 0, undisturbed.stderr)
        client = subprocess.Popen(self.complete(*flags), stdout=subprocess.PIPE)
        self.addCleanup(client.wait)
        self.addCleanup(client.kill)
        text, pauses, last, cut = b"", [], time.monotonic(), 0
        while part := os.read(client.stdout.fileno(), 65536):
            pauses.append(time.monotonic() - last)
            last = time.monotonic()
            text += part
            if cut < 2 and len(text) > (cut + 1) * len(undisturbed.stdout) // 4:
                cut += 1
                ip("-n", SECOND, "link", "set", "eth0", "down")
                time.sleep(1.5)  # longer than a step may take, so that the group is lost
                ip("-n", SECOND, "link", "set", "eth0", "up")
        self.assertEqual(cut, 2)
        self.assertEqual(client.wait(), 0)
        self.assertEqual(text, undisturbed.stdout)
        self.assertIn("lost", server.text())
        print(f"the longest pause with the link cut for 1.5 s: {max(pauses[1:]):.2f} s")

    def test_a_server_refuses_workers_that_have_another_secret(self):
        workers = self.workers(self.secret("theirs", "the workers' secret"), (9110, 9111))
        server = self.server(workers, self.secret("ours", "another secret"))
        server.wait_for(["secret"])
        self.assertNotIn("ready: ", server.text())

    def test_a_worker_refuses_a_frontend_that_does_not_know_its_secret(self):
        """An honest server with a wrong secret goes by itself, since the worker proves its own first; this one goes on."""
        self.workers(self.secret("secret", "the workers' secret"), (9130, 9131))
        version = subprocess.run([OPTIONS.bin / "tessera-worker", "--version"], capture_output=True,
                                 text=True, check=True).stdout.removeprefix("tessera-worker").strip()
        for host, port in ((FIRST, 9131), (SECOND, 9130)):  # each from the other's host
            address = f"{HOSTS[SECOND if host == FIRST else FIRST]}:{port}"
            answer = subprocess.run(["ip", "netns", "exec", host, sys.executable, STRANGER, address, version],
                                    capture_output=True, text=True, timeout=HANG)
            self.assertEqual(answer.returncode, 0, answer.stderr)
            found = json.loads(answer.stdout)
            self.assertTrue(found["challenged"], found)
            self.assertFalse(found["welcomed"], found)
            self.assertEqual(found["status"], "UNAUTHENTICATED", found)
            self.assertIn("secret", found["details"])


def main():
    global OPTIONS
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True, type=pathlib.Path)
    parser.add_argument("--source", required=True, type=pathlib.Path)
    OPTIONS = parser.parse_args()
    try:
        make_hosts()
    except (OSError, subprocess.CalledProcessError) as error:
        remove_hosts()
        print(f"SKIPPED: network namespaces cannot be made here: {getattr(error, 'stderr', error)}")
        return 77
    try:
        suite = unittest.defaultTestLoader.loadTestsFromTestCase(TwoHosts)
        result = unittest.TextTestRunner(verbosity=2).run(suite)
    finally:
        remove_hosts()
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
