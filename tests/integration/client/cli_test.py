"""The `tessera` command against a real server."""

import json
import os
import pty
import re
import select
import signal
import tempfile
import termios
import time
import unittest

from running import BIN, HANG_LIMIT, SOURCE, Server, golden, run

TESSERA = BIN / "tessera"
server = None


def setUpModule():
    global server
    server = Server("--tp", "2", "--dtype", "f32", "--model-name", "demo")


def tearDownModule():
    assert server.stop() == 0, "".join(server.log)


def tessera(*arguments, stdin=""):
    return run(TESSERA, *arguments, stdin=stdin, env={"TESSERA_TARGET": server.target})


class Complete(unittest.TestCase):
    def test_greedy_token_ids_are_the_golden_ones(self):
        case = golden("Once upon a time")
        code, out, err = tessera("complete", case["prompt"], "--temperature", 0, "--max-tokens",
                                 len(case["output_ids"]), "--json")
        self.assertEqual(code, 0, err)
        answer = json.loads(out)
        self.assertEqual(answer["prompt_token_ids"], case["prompt_ids"])
        self.assertEqual(answer["sequences"][0]["token_ids"], case["output_ids"])
        self.assertEqual(answer["sequences"][0]["text"], case["output_text"])

    def test_token_ids_as_the_prompt_give_the_same(self):
        case = golden("Once upon a time")
        code, out, err = tessera("complete", "--token-ids", ",".join(map(str, case["prompt_ids"])),
                                 "--temperature", 0, "--max-tokens", 8, "--show-token-ids")
        self.assertEqual(code, 0, err)
        self.assertIn("\ntoken ids: " + ",".join(map(str, case["output_ids"][:8])) + "\n", out)

    def test_the_prompt_may_come_on_standard_input(self):
        flags = ["--temperature", 0, "--max-tokens", 12]
        self.assertEqual(tessera("complete", "Once upon a time", *flags),
                         tessera("complete", *flags, stdin="Once upon a time\n"))

    def test_a_seed_draws_the_same_tokens_again(self):
        flags = ["complete", "Once upon a time", "--seed", 11, "--max-tokens", 16, "--json"]
        first, second = (json.loads(tessera(*flags)[1]) for _ in range(2))
        self.assertEqual(first["sequences"], second["sequences"])
        self.assertEqual(first["seed"], 11)

    def test_logprobs_name_the_token_and_its_rivals(self):
        code, out, err = tessera("complete", "Once upon a time", "--temperature", 0, "--max-tokens",
                                 2, "--logprobs", 3, "--prompt-logprobs", 1, "--json")
        self.assertEqual(code, 0, err)
        answer = json.loads(out)
        first = answer["sequences"][0]["logprobs"][0]
        self.assertEqual(first["token_id"], answer["sequences"][0]["token_ids"][0])
        self.assertEqual(first["top"][0]["token_id"], first["token_id"])
        self.assertEqual(len(first["top"]), 3)
        self.assertEqual(len(answer["prompt_logprobs"]), len(answer["prompt_token_ids"]))
        self.assertIsNone(answer["prompt_logprobs"][0]["logprob"])

    def test_a_stop_string_ends_the_text_before_it(self):
        text = golden("Once upon a time")["output_text"]
        word = text.split()[4]
        code, out, err = tessera("complete", "Once upon a time", "--temperature", 0, "--stop", word)
        self.assertEqual(code, 0, err)
        self.assertEqual(out.rstrip("\n"), text[:text.index(word)].rstrip("\n"))

    def test_bad_requests_are_one_line_with_a_reason(self):
        for arguments, said in [
                (["--temperature", "-1"], "temperature"),
                (["--top-p", "nan"], "top_p"),
                (["--max-tokens", "0"], "max_tokens"),
                (["--model", "no-such-model"], "no-such-model"),
        ]:
            with self.subTest(arguments=arguments):
                code, out, err = tessera("complete", "x", *arguments)
                self.assertEqual(code, 1, err)
                self.assertEqual(out, "")
                self.assertIn(said, err)
                self.assertTrue(err.startswith("tessera: "))
                self.assertLessEqual(err.count("\n"), 2)

    def test_a_prompt_beyond_the_context_is_refused(self):
        code, _, err = tessera("complete", stdin="word " * 3000)
        self.assertEqual(code, 1)
        self.assertIn("1024", err.replace(",", ""))


class Facts(unittest.TestCase):
    def test_tokenize_and_back(self):
        text = "Once upon a time <|im_end|> Grüße!"
        code, out, err = tessera("tokenize", text, "--json")
        self.assertEqual(code, 0, err)
        tokens = json.loads(out)["tokens"]
        raw = text.encode()
        for token in tokens:
            if not token["special"]:
                # Tokens that are parts of a character all stand for the whole of it.
                self.assertIn(bytes(token["bytes"]), raw[token["begin"]:token["end"]])
        ids = ",".join(str(token["token_id"]) for token in tokens if token["begin"] < token["end"])
        self.assertEqual(tessera("tokenize", "--ids", ids)[1], text + "\n")
        self.assertIn("special", tessera("tokenize", text)[1])
        plain = json.loads(tessera("tokenize", text, "--plain", "--no-special-tokens", "--json")[1])
        self.assertFalse(any(token["special"] for token in plain["tokens"]))

    def test_status_is_ready_and_counts(self):
        tessera("complete", "x", "--max-tokens", 1)
        code, out, err = tessera("status", "--json")
        self.assertEqual(code, 0, err)
        status = json.loads(out)
        self.assertEqual(status["state"], "ready")
        self.assertEqual(status["model"], "demo")
        self.assertEqual(len(status["groups"][0]["ranks"]), 2)
        self.assertGreaterEqual(status["engine"]["requests_total"], 1)
        self.assertIn("ready: demo", tessera("status")[1])
        self.assertEqual(tessera("status", "--wait")[0], 0)

    def test_doctor_finds_nothing_wrong_here(self):
        code, out, err = tessera("doctor", "--tp", 3, "--json")
        report = json.loads(out)
        self.assertEqual(code, 0, [check for check in report["checks"] if not check["ok"]])
        names = [check["name"] for check in report["checks"]]
        self.assertIn("kernels", names)
        for pair in ["0-1", "0-2", "1-2"]:
            self.assertIn("collectives shm " + pair, names)

    def test_inspect_tells_what_quantising_costs(self):
        relative = {}
        for quantize in ["int8", "int4:32", "int4:128"]:
            code, out, err = tessera("inspect", SOURCE / "deploy/models/demo/model", "--quantize", quantize, "--json")
            self.assertEqual(code, 0, err)
            report = json.loads(out)
            self.assertEqual(sum(weight["elements"] for weight in report["weights"]), report["total"]["elements"])
            relative[quantize] = report["total"]["relative"]
        self.assertLess(0, relative["int8"])
        self.assertLess(5 * relative["int8"], relative["int4:32"])
        self.assertLess(relative["int4:32"], relative["int4:128"])
        code, out, _ = tessera("inspect", SOURCE / "deploy/models/demo/model", "--quantize", "int8")
        self.assertEqual(code, 0)
        self.assertIn("layers.0.query", out)
        code, _, err = tessera("inspect", SOURCE / "deploy/models/demo/model", "--quantize", "int3")
        self.assertEqual(code, 1)
        self.assertIn("give int8 or int4", err)
        code, _, err = tessera("inspect", "somebody/no-such-model", "--quantize", "int8")
        self.assertEqual(code, 1)
        self.assertIn("hint: ", err)

    def test_quantising_takes_what_is_quantised_as_it_is(self):
        blocks = SOURCE / "tests/fixtures/gguf_blocks/q4_0"
        code, out, err = tessera("inspect", blocks, "--quantize", "int4", "--json")
        self.assertEqual(code, 0, err)
        report = json.loads(out)
        self.assertTrue(all(weight["as_stored"] for weight in report["weights"]), report)
        self.assertEqual(report["total"]["relative"], 0)
        code, out, err = tessera("inspect", blocks, "--quantize", "int4")
        self.assertEqual(code, 0, err)
        self.assertIn("as stored", out)

    def test_nobody_answers_elsewhere(self):
        code, _, err = tessera("--target", "127.0.0.1:1", "status")
        self.assertEqual(code, 3)
        self.assertIn("tessera serve", err)


class Chat(unittest.TestCase):
    def test_one_message(self):
        code, out, err = tessera("chat", "What is the capital of Norway?", "--temperature", 0)
        self.assertEqual(code, 0, err)
        self.assertIn("Oslo", out)


class Terminal:
    """`tessera` on a terminal of its own."""

    def __init__(self, *arguments, home):
        self.seen = ""
        self.read_to = 0
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update({"TESSERA_TARGET": server.target, "HOME": home, "TERM": "xterm",
                               "XDG_STATE_HOME": "", "LC_ALL": "C.UTF-8", "NO_COLOR": "1"})
            os.execv(TESSERA, [str(TESSERA), *arguments])

    def type(self, keys):
        os.write(self.fd, keys.encode())

    def _read(self, deadline):
        """False at the end of the output."""
        ready, _, _ = select.select([self.fd], [], [], max(0, deadline - time.monotonic()))
        if not ready:
            raise AssertionError("hung; so far: " + repr(self.seen))
        try:
            got = os.read(self.fd, 4096)
        except OSError:
            got = b""
        self.seen += got.decode(errors="replace")
        return bool(got)

    def wait_for(self, text):
        """Reads until `text` comes after what earlier waits have seen."""
        deadline = time.monotonic() + HANG_LIMIT
        while (at := self.seen.find(text, self.read_to)) < 0:
            if not self._read(deadline):
                raise AssertionError(f"ended without {text!r}: {self.seen!r}")
        self.read_to = at + len(text)

    def wait_for_prompt(self):
        """As wait_for, and until the line editor has the terminal."""
        self.wait_for("> ")
        deadline = time.monotonic() + HANG_LIMIT
        while termios.tcgetattr(self.fd)[3] & termios.ICANON:
            assert time.monotonic() < deadline, self.seen

    def wait_for_end(self):
        deadline = time.monotonic() + HANG_LIMIT
        while self._read(deadline):
            pass
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


class Conversation(unittest.TestCase):
    def setUp(self):
        self.home = tempfile.TemporaryDirectory()
        self.addCleanup(self.home.cleanup)

    def open(self, *arguments):
        terminal = Terminal("chat", *arguments, home=self.home.name)
        terminal.wait_for_prompt()
        return terminal

    def test_it_remembers_what_was_said(self):
        chat = self.open("--temperature", "0", "--max-tokens", "40")
        chat.type("My name is Anna.\r")
        chat.wait_for("\n> ")
        chat.type("What is my name?\r")
        chat.wait_for("\r\n")
        chat.wait_for("Anna")
        chat.wait_for_prompt()
        chat.type("\x04")
        self.assertEqual(chat.wait_for_end(), 0)

    def test_ctrl_c_stops_the_answer_and_not_the_program(self):
        self.wait_until_running(lambda requests: requests == 0)  # of other tests
        chat = self.open("--ignore-eos", "--max-tokens", "900")
        chat.type("Tell me a story.\r")
        self.wait_until_running(lambda requests: requests > 0)
        chat.type("\x03")
        chat.wait_for("[stopped]")
        chat.wait_for_prompt()
        chat.type("half a line\x03")
        chat.wait_for_prompt()
        chat.type("/exit\r")
        self.assertEqual(chat.wait_for_end(), 0)
        self.wait_until_running(lambda requests: requests == 0)

    def wait_until_running(self, enough):
        deadline = time.monotonic() + HANG_LIMIT
        while not enough(json.loads(tessera("status", "--json")[1])["engine"]["running"]):
            self.assertLess(time.monotonic(), deadline)

    def test_lines_of_an_earlier_conversation_are_under_the_arrow_keys(self):
        first = self.open()
        first.type("/help\r")
        first.wait_for("/reset")
        first.wait_for_prompt()
        first.type("\x04")
        self.assertEqual(first.wait_for_end(), 0)
        history = os.path.join(self.home.name, ".local/state/tessera/history")
        self.assertEqual(os.stat(history).st_mode & 0o777, 0o600)
        second = self.open()
        second.type("\x1b[A")
        second.wait_for("/help")
        second.type("\r")
        second.wait_for("/reset")
        second.type("/exit\r")
        self.assertEqual(second.wait_for_end(), 0)

    def test_ctrl_c_of_a_completion_is_exit_code_130(self):
        terminal = Terminal("complete", "Once upon a time", "--ignore-eos", home=self.home.name)
        terminal.wait_for(" ")
        os.kill(terminal.pid, signal.SIGINT)
        self.assertEqual(terminal.wait_for_end(), 130)


class Serve(unittest.TestCase):
    def test_on_a_terminal_it_shows_how_the_model_loads_and_ctrl_c_drains(self):
        with tempfile.TemporaryDirectory() as home:
            terminal = Terminal("serve", "--grpc-port", "0", "--tp", "2", home=home)
            terminal.wait_for(" %")
            terminal.wait_for("ready: demo on ")
            terminal.wait_for("\n")
            terminal.type("\x03")
            self.assertEqual(terminal.wait_for_end(), 0)

    def test_an_unknown_path_is_a_clear_error(self):
        code, _, err = run(TESSERA, "serve", "--model", "/nonexistent/model", "--grpc-port", 0)
        self.assertEqual(code, 1)
        self.assertIn("/nonexistent/model", err)

    def test_a_port_in_use_names_the_port(self):
        port = re.search(r":(\d+)$", server.target).group(1)
        code, _, err = run(TESSERA, "serve", "--grpc-port", port)
        self.assertEqual(code, 1)
        self.assertIn(port, err)

    def test_the_annotated_configuration_has_every_flag_with_its_default(self):
        config = (SOURCE / "deploy/config/tessera.conf").read_text()
        help_text = run(BIN / "tessera-server", "--help")[1]
        flags = set(re.findall(r"^\s+--([a-z-]+)", help_text, re.M)) - {"help", "version", "config"}
        self.assertEqual(set(re.findall(r"^#([a-z-]+) = ", config, re.M)), flags)
        for flag, default in re.findall(r"^\s+--([a-z-]+) \w+(?::[^=\s]*)?=(\S+)", help_text, re.M):
            if default in ("", "[]", '""'):
                continue  # none, so that the file shows an example
            value = re.search(rf"^#{flag} = (.*)$", config, re.M).group(1).strip('"')
            self.assertEqual(value, default.strip('"[]'), flag)

    def test_it_serves_with_the_annotated_configuration(self):
        configured = Server("--config", str(SOURCE / "deploy/config/tessera.conf"))
        self.assertEqual(configured.stop(), 0, configured.log)


if __name__ == "__main__":
    unittest.main(verbosity=2)
