"""`tessera bench` against a real server with simulated workers."""

import json
import pathlib
import tempfile
import unittest
import xml.etree.ElementTree

from running import BIN, Server, run

server = None


def setUpModule():
    global server
    server = Server("--device", "sim", "--sim-fixed-us", "1000", "--sim-token-us", "0", "--max-num-seqs", "256")


def tearDownModule():
    assert server.stop() == 0, "".join(server.log)


def bench(*arguments):
    return run(BIN / "tessera", "bench", *arguments, env={"TESSERA_TARGET": server.target})


def report(*arguments):
    code, out, err = bench("--json", *arguments)
    assert code == 0, (code, out, err)
    return json.loads(out)


class ClosedLoop(unittest.TestCase):
    def test_counts_every_request_and_token(self):
        result = report("--clients", 5, "--requests", 20, "--input", 12, "--output", 7)
        self.assertEqual(result["succeeded"], 20)
        self.assertEqual(result["failures"], {})
        self.assertEqual(result["output_tokens"], 20 * 7)
        self.assertEqual(result["prompt_tokens"], 20 * 12)
        self.assertEqual(result["peak_streams"], 5)
        self.assertEqual(result["ttft"]["count"], 20)
        self.assertEqual(result["inter_token"]["count"], 20 * 6)
        self.assertLessEqual(result["ttft"]["p50_ms"], result["end_to_end"]["p50_ms"])
        after, before = (result["server"][when]["engine"] for when in ("after", "before"))
        self.assertEqual(after["completion_tokens_total"] - before["completion_tokens_total"], 20 * 7)

    def test_many_streams_at_a_time(self):
        result = report("--clients", 600, "--requests", 600, "--input", 4, "--output", 60)
        self.assertEqual(result["succeeded"], 600)
        # On a busy machine the first may end before the last one begins.
        self.assertGreater(result["peak_streams"], 500)

    def test_text_for_people(self):
        code, out, err = bench("--clients", 2, "--requests", 4, "--output", 3)
        self.assertEqual(code, 0, err)
        for part in ("4 sent, 4 answered, 0 failed", "first token", "between tokens", "generator", "CPUs"):
            self.assertIn(part, out)

    def test_answers_are_cut_to_the_context(self):
        result = report("--clients", 1, "--requests", 1, "--input", 1020, "--output", 50)
        self.assertEqual(result["shortened"], 1)
        self.assertEqual(result["output_tokens"], 4)


class OpenLoop(unittest.TestCase):
    def test_a_rate_for_a_while(self):
        result = report("--rate", 100, "--duration", 1, "--input", "uniform:4:8", "--output", 5, "--seed", 3)
        # A Poisson process with mean 100: five standard deviations.
        self.assertTrue(50 <= result["sent"] <= 150, result["sent"])
        self.assertEqual(result["succeeded"], result["sent"])
        self.assertEqual(result["output_tokens"], 5 * result["sent"])
        self.assertGreater(result["lateness"]["count"], 0)

    def test_a_trace(self):
        with tempfile.TemporaryDirectory() as folder:
            trace = pathlib.Path(folder) / "trace.jsonl"
            trace.write_text("".join(json.dumps({"arrival": at / 50, "input": 3 + at, "output": 1 + at}) + "\n"
                                     for at in range(6)))
            result = report("--trace", trace)
            self.assertEqual(result["sent"], 6)
            self.assertEqual(result["prompt_tokens"], sum(3 + at for at in range(6)))
            self.assertEqual(result["output_tokens"], sum(1 + at for at in range(6)))
            trace.write_text('{"arrival": 0}\n')
            code, _, err = bench("--trace", trace)
            self.assertNotEqual(code, 0)
            self.assertIn("line 1", err)

    def test_a_sweep_finds_a_rate_and_draws_it(self):
        with tempfile.TemporaryDirectory() as folder:
            svg = pathlib.Path(folder) / "sweep.svg"
            result = report("--sweep", "--rate", 20, "--duration", 0.5, "--tries", 3, "--input", 4, "--output", 2,
                            "--ttft-p99-ms", 60000, "--svg", svg)
            self.assertEqual([each["rate"] for each in result["tries"]], [20, 40, 80])
            self.assertEqual(result["best_rate"], 80)
            self.assertTrue(xml.etree.ElementTree.parse(svg).getroot().tag.endswith("svg"))

    def test_a_target_out_of_reach_is_told(self):
        code, out, _ = bench("--sweep", "--rate", 20, "--duration", 0.3, "--tries", 2, "--output", 2,
                             "--ttft-p99-ms", 0.001)
        self.assertEqual(code, 1)
        self.assertIn("highest rate that meets the target: 0.00", out)


class Usage(unittest.TestCase):
    def test_wrong_usage_is_explained(self):
        for flags, part in (([], "--clients"), (["--clients", 2, "--rate", 3], "--clients"),
                            (["--clients", 2, "--input", "many"], "many"),
                            (["--sweep", "--clients", 2], "--sweep"), (["--sweep", "--rate", 2], "--ttft-p99-ms"),
                            (["--rate", 2, "--svg", "x"], "--svg"), (["--trace", "/no/such/file"], "/no/such/file")):
            code, _, err = bench(*flags)
            self.assertNotEqual(code, 0, flags)
            self.assertIn(part, err, flags)

    def test_failed_requests_are_counted_by_cause(self):
        code, out, _ = run(BIN / "tessera", "bench", "--clients", 1, "--requests", 1, "--temperature", -1,
                           "--json", env={"TESSERA_TARGET": server.target})
        self.assertEqual(code, 1)
        result = json.loads(out)
        self.assertEqual(result["failed"], 1)
        self.assertTrue(next(iter(result["failures"])).startswith("INVALID_ARGUMENT"), result["failures"])


if __name__ == "__main__":
    unittest.main()
