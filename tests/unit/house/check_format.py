#!/usr/bin/env python3
"""Every C++ source is as clang-format 14 with .clang-format leaves it."""
import argparse
import pathlib
import shutil
import subprocess
import sys

FOLDERS = ("proto", "shard_loader", "worker", "server", "client", "tests")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", required=True, type=pathlib.Path)
    parser.add_argument("--build")
    source = parser.parse_args().source
    program = shutil.which("clang-format-14")
    if not program:
        print("SKIPPED: clang-format-14 is missing")
        return 77
    files = [str(file) for folder in FOLDERS for file in sorted((source / folder).rglob("*"))
             if file.suffix in (".h", ".cc", ".cu", ".cuh") and "fixtures" not in file.parts]
    result = subprocess.run([program, "--dry-run", "-Werror", *files], capture_output=True, text=True)
    wrong = sorted({line.split(":")[0] for line in result.stderr.splitlines() if ": error:" in line})
    for file in wrong:
        print(f"{file}: run clang-format-14 -i on it")
    if result.returncode and not wrong:
        print(result.stderr)
    if not result.returncode:
        print(f"{len(files)} files are formatted")
    return 1 if result.returncode or not files else 0


if __name__ == "__main__":
    sys.exit(main())
