"""`tessera verify`: says equal where all is equal, and finds a changed order at its place."""

import json
import os
import pathlib
import re
import subprocess
import sys
import unittest

SOURCE = pathlib.Path(os.environ["TESSERA_SOURCE"])
BIN = pathlib.Path(os.environ["TESSERA_BIN"])
CHECKPOINTS = SOURCE / "tests/fixtures/checkpoints"


def verify(*arguments):
    done = subprocess.run([BIN / "tessera", "verify", *arguments], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=3000)
    return done.returncode, done.stdout, done.stderr


class Quick(unittest.TestCase):
    def test_some_layouts_of_a_small_model_are_equal(self):
        code, out, err = verify("--model", CHECKPOINTS / "llama_small", "--max-tokens", "8", "--json",
                                "--only", "tp=2,tp=2 pp=2,chunks of 7 tokens,preemptions,kills,"
                                "evicted blocks kept")
        self.assertEqual(code, 0, out + err)
        report = json.loads(out)
        self.assertTrue(report["equal"])
        self.assertEqual([each["outcome"] for each in report["layouts"]], ["equal"] * 6, out)
        self.assertTrue(all(each["answers"] >= report["questions"] for each in report["layouts"]))

    def test_a_changed_order_is_found_at_its_position_layer_and_rank(self):
        for position in (20, 260):
            code, out, err = verify("--model", CHECKPOINTS / "llama_small", "--max-tokens", "8",
                                    "--dtype", "f32", "--test-reorder-from", str(position))
            self.assertEqual(code, 1, out + err)
            found = re.search(r"DIFFERENT.* position (\d+): .*arises in layer (\d+) on rank (\d+), "
                              r"at position (\d+)", out)
            self.assertIsNotNone(found, out + err)
            # The row at a position gives the logprobs of the token behind it.
            self.assertEqual(found.group(1), str(position + 1), out)
            self.assertEqual(found.groups()[1:], ("0", "0", str(position)), out)

    def test_a_layout_that_is_not_there_and_a_model_that_is_not_there_are_named(self):
        code, _, err = verify("--model", CHECKPOINTS / "llama_small", "--only", "tp=77")
        self.assertEqual(code, 1)
        self.assertIn("tp=77", err)
        code, _, err = verify("--model", "/nonexistent")
        self.assertEqual(code, 1)
        self.assertIn("/nonexistent", err)


class Families(unittest.TestCase):
    def test_every_fixture_is_the_same_under_every_layout(self):
        for folder in sorted(CHECKPOINTS.iterdir()):
            with self.subTest(folder.name):
                code, out, err = verify("--model", folder, "--max-tokens", "8", "--all")
                print(f"{folder.name}: {out.strip().splitlines()[-1] if out else err}", flush=True)
                self.assertEqual(code, 0, out + err)


if __name__ == "__main__":
    unittest.main(argv=sys.argv)
