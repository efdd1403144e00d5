#!/usr/bin/env python3
"""Fails where an answer's token ids are not the bundled model's golden ones: golden_ids.py ANSWER.json, which
`tessera complete "Once upon a time" --temperature 0 --json` has printed in f32."""
import json
import pathlib
import sys

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "deploy/models/demo/golden.json"
case = next(c for c in json.loads(GOLDEN.read_text())["cases"] if c.get("prompt") == "Once upon a time")
ids = json.loads(pathlib.Path(sys.argv[1]).read_text())["sequences"][0]["token_ids"]
sys.exit(0 if ids == case["output_ids"] else f"ids {ids} are not the golden {case['output_ids']}")
