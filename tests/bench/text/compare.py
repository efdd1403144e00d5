#!/usr/bin/env python3
"""Encoding and decoding speed on one thread, beside the PyPI library `tokenizers`, in one run.

    tests/bench/text/compare.py build/release/tests/bench_text [TOKENIZER_FOLDER...]

Without folders: fixtures of four kinds. The library goes into a virtual environment beside the
program. Prints one JSON line per tokenizer and text; "encode_ratio" and "decode_ratio" above 1 mean
that ours is ahead.
"""

import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time
import venv

ROOT = pathlib.Path(__file__).resolve().parents[3]
VERSION = "0.23.3"
SIZE = 1_000_000


def texts():
    rng = random.Random(1)
    readme = (ROOT / "README.md").read_text() if (ROOT / "README.md").exists() else ""
    words = sorted(set((readme + " the of and to in is it you that he was for on are with as I").split()))
    english, size = [], 0
    while size < SIZE:
        sentence = " ".join(rng.choice(words) for _ in range(rng.randint(5, 20))).capitalize() + ". "
        if rng.random() < 0.1:
            sentence += "\n\n"
        english.append(sentence)
        size += len(sentence)
    code = "".join(path.read_text() for path in sorted((ROOT / "server" / "text").glob("*.cc")))
    chinese = "".join(chr(rng.randint(0x4E00, 0x5FFF)) if rng.random() < 0.9 else "，" for _ in range(SIZE // 3))
    spaces = "".join(" " * rng.randint(1, 200) + "\n" for _ in range(SIZE // 100))
    return {"english": "".join(english), "code": (code * (SIZE // len(code) + 1))[:SIZE],
            "chinese": chinese, "whitespace": spaces}


def library(folder):
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", f"tokenizers=={VERSION}"], check=True)
    return python


def measure(tokenizer_folder, files):
    """Runs inside of the virtual environment."""
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(os.path.join(tokenizer_folder, "tokenizer.json"))

    def best(work):
        times = []
        while len(times) < 3 or (sum(times) < 1 and len(times) < 1000):
            start = time.process_time()
            work()
            times.append(time.process_time() - start)
        return min(times)

    for path in files:
        text = pathlib.Path(path).read_bytes().decode()
        size = len(text.encode()) / 1e6
        ids = tokenizer.encode(text).ids
        print(json.dumps({
            "text": pathlib.Path(path).stem, "tokens": len(ids),
            "encode_mb_s": size / best(lambda: tokenizer.encode(text)),
            "decode_mb_s": size / best(lambda: tokenizer.decode(ids, skip_special_tokens=False))}), flush=True)


def lines(command):
    environment = dict(os.environ, TOKENIZERS_PARALLELISM="false", RAYON_NUM_THREADS="1")
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    return [json.loads(line) for line in output.splitlines()]


def main():
    program = pathlib.Path(sys.argv[1]).resolve()
    folders = [pathlib.Path(p).resolve() for p in sys.argv[2:]]
    folders = folders or [ROOT / "tests" / "fixtures" / "tokenizers" / kind
                          for kind in ("gpt2", "llama3", "qwen2", "llama2")]
    python = library(program.parent / "tokenizers-venv")
    behind = False
    with tempfile.TemporaryDirectory() as temporary:
        files = []
        for name, text in texts().items():
            files.append(os.path.join(temporary, name + ".txt"))
            pathlib.Path(files[-1]).write_bytes(text.encode())
        for folder in folders:
            ours = lines([program, folder, *files])
            theirs = lines([python, __file__, "--measure", folder, *files])
            for a, b in zip(ours, theirs):
                result = {"tokenizer": folder.name, "text": a["text"], "same_tokens": a["tokens"] == b["tokens"],
                          "encode_mb_s": round(a["encode_mb_s"], 2), "decode_mb_s": round(a["decode_mb_s"], 2),
                          "encode_ratio": round(a["encode_mb_s"] / b["encode_mb_s"], 2),
                          "decode_ratio": round(a["decode_mb_s"] / b["decode_mb_s"], 2)}
                behind |= min(result["encode_ratio"], result["decode_ratio"]) < 1 or not result["same_tokens"]
                print(json.dumps(result), flush=True)
    return 1 if behind else 0


if __name__ == "__main__":
    if sys.argv[1] == "--measure":
        measure(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(main())
