"""Runs what client/examples shows against a real server."""

import sys
import unittest

from running import BIN, SOURCE, Server, golden, run

EXAMPLES = SOURCE / "client/examples"
server = None


def setUpModule():
    global server
    server = Server("--dtype", "f32")


def tearDownModule():
    assert server.stop() == 0, "".join(server.log)


class Examples(unittest.TestCase):
    def check_completion(self, out):
        text = golden("Once upon a time")["output_text"]
        self.assertTrue(out.startswith(text), out)
        self.assertRegex(out, r"\n\[5 tokens in, \d+ out\]\n$")

    def test_python_generate(self):
        code, out, err = run(sys.executable, EXAMPLES / "python/generate.py", server.target)
        self.assertEqual(code, 0, err)
        self.check_completion(out)

    def test_python_chat(self):
        code, out, err = run(sys.executable, EXAMPLES / "python/chat.py", server.target)
        self.assertEqual(code, 0, err)
        self.assertIn("Oslo", out)
        self.assertEqual(out.count("> "), 2)

    def test_python_health(self):
        code, out, err = run(sys.executable, EXAMPLES / "python/health.py", server.target, 60)
        self.assertEqual((code, out), (0, "SERVING\n"), err)

    def test_cpp(self):
        code, out, err = run(BIN / "example_complete", server.target)
        self.assertEqual(code, 0, err)
        self.check_completion(out)


if __name__ == "__main__":
    unittest.main(verbosity=2)
