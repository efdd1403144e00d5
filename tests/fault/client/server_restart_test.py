"""kill -9 of the server under load: the command's answers go on, word for word, after a restart."""

import os
import pathlib
import re
import signal
import subprocess
import threading
import unittest

SOURCE = pathlib.Path(os.environ["TESSERA_SOURCE"])
BIN = pathlib.Path(os.environ["TESSERA_BIN"])
MODEL = SOURCE / "deploy/models/demo/model"
HANG_LIMIT = 120  # seconds; not a timing: what takes longer is taken for hung


def start_server(port):
    process = subprocess.Popen([BIN / "tessera-server", "--model", MODEL, "--tp", "2",
                                "--grpc-port", str(port), "--log-level", "error"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        found = re.search(r"ready: .*:(\d+)$", line.rstrip())
        if found:
            return process, int(found.group(1))
    raise AssertionError(f"the server ended with {process.wait()}")


class Answer:
    """One `tessera` whose output is read as it comes."""

    def __init__(self, port, *arguments):
        self.process = subprocess.Popen(
            [BIN / "tessera", "--target", f"127.0.0.1:{port}", *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.text = b""
        self.errors = b""
        self.grown = threading.Event()  # since the last call of await_text
        self.readers = [threading.Thread(target=self._read), threading.Thread(target=self._errors)]
        for reader in self.readers:
            reader.start()

    def _read(self):
        while chunk := os.read(self.process.stdout.fileno(), 4096):
            self.text += chunk
            self.grown.set()
        self.grown.set()

    def _errors(self):
        self.errors = self.process.stderr.read()

    def await_text(self):
        """Until more of it has come, or its end."""
        assert self.grown.wait(HANG_LIMIT), "no text came"
        self.grown.clear()

    def running(self):
        return self.process.poll() is None

    def wait(self):
        code = self.process.wait(HANG_LIMIT)
        for reader in self.readers:
            reader.join()
        self.process.stdout.close()
        self.process.stderr.close()
        return code, self.text


QUESTIONS = [
    ["complete", "Once upon a time", "--max-tokens", "900", "--ignore-eos", "--temperature", "0"],
    ["complete", "The river", "--max-tokens", "400", "--ignore-eos", "--seed", "5"],
    ["complete", "A dog", "--max-tokens", "300", "--ignore-eos", "--seed", "6",
     "--repetition-penalty", "1.1"],
    ["complete", "One day", "--max-tokens", "300", "--ignore-eos", "--seed", "7", "--stop", "zzz"],
    ["chat", "Tell me a story.", "--max-tokens", "300", "--ignore-eos", "--seed", "8"],
    ["complete", "The king", "--max-tokens", "200", "--ignore-eos", "--seed", "9", "--logprobs",
     "2"],
]


class ServerRestart(unittest.TestCase):
    def start_server(self, port):
        """One that goes with the test, however that ends: an orphan would hold its output open."""
        server, port = start_server(port)

        def end():
            server.kill()
            server.wait()
            server.stdout.close()

        self.addCleanup(end)
        return server, port

    def test_answers_survive_two_kills_of_the_server(self):
        server, port = self.start_server(0)
        expected = [Answer(port, *question).wait() for question in QUESTIONS]
        for code, text in expected:
            self.assertEqual(code, 0)
            self.assertTrue(text)
        answers = [Answer(port, *question) for question in QUESTIONS]
        for kill in range(2):
            # A command that no server has answered yet does not wait for one. Before the second
            # kill any one that goes on will do: the others may be at their end.
            for answer in answers if kill == 0 else answers[:1]:
                answer.await_text()
            self.assertTrue(any(answer.running() for answer in answers), "killed too late")
            server.send_signal(signal.SIGKILL)
            server.wait()
            server, port = self.start_server(port)
        for question, answer, due in zip(QUESTIONS, answers, expected):
            code, text = answer.wait()
            self.assertEqual((code, text), due, (question, answer.errors))
        server.send_signal(signal.SIGTERM)
        self.assertEqual(server.wait(HANG_LIMIT), 0)

    def test_an_answer_without_retry_ends_with_its_server(self):
        server, port = self.start_server(0)
        answer = Answer(port, "complete", "Once", "--max-tokens", "900", "--ignore-eos", "--retry",
                        "none")
        answer.await_text()
        server.send_signal(signal.SIGKILL)
        code, _ = answer.wait()
        self.assertNotEqual(code, 0)


if __name__ == "__main__":
    unittest.main()
