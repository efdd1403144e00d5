#!/usr/bin/env python3
"""clang's thread-safety analysis over every source of ours that locks something."""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

FOLDERS = ("shard_loader", "worker", "server", "client", "proto")
DROP = re.compile(r"^-(fsanitize|fno-sanitize|fanalyzer|W)")


def locks(source: pathlib.Path) -> bool:
    """Whether a source, or the header beside it, uses our Mutex."""
    texts = [file.read_text() for file in (source, source.with_suffix(".h")) if file.exists()]
    return any("shard_loader/mutex.h" in text or "ABSL_GUARDED_BY" in text for text in texts)


def arguments(command: str) -> list[str]:
    """The flags of a compile command that the analysis needs."""
    words = shlex.split(command)
    start = next(i for i, word in enumerate(words) if re.search(r"(g\+\+|clang\+\+|c\+\+)", word)) + 1
    kept, skip = [], False
    for word in words[start:]:
        if skip:
            skip = False
        elif word in ("-o", "-MF", "-MT", "-MQ"):
            skip = True
        elif word not in ("-c", "-MD") and not DROP.match(word):
            kept.append(word)
    return kept


def analyse(entry: dict) -> str:
    result = subprocess.run(
        ["clang++-16", *arguments(entry["command"]), "-fsyntax-only", "-w", "-Wthread-safety",
         "-Werror=thread-safety", "-Wno-unknown-warning-option"],
        capture_output=True, text=True, cwd=entry["directory"])
    return result.stderr if result.returncode else ""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", required=True, type=pathlib.Path)
    parser.add_argument("--build", required=True, type=pathlib.Path)
    options = parser.parse_args()
    if not shutil.which("clang++-16"):
        print("SKIPPED: clang++-16 is missing")
        return 77
    database = options.build / "compile_commands.json"
    if not database.exists():
        print("SKIPPED: configure with CMAKE_EXPORT_COMPILE_COMMANDS (every preset does)")
        return 77
    entries = [entry for entry in json.loads(database.read_text())
               if any(pathlib.Path(entry["file"]).is_relative_to(options.source / folder)
                      for folder in FOLDERS) and locks(pathlib.Path(entry["file"]))]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        errors = [text for text in pool.map(analyse, entries) if text]
    print("\n".join(errors) or f"{len(entries)} sources that lock: nothing found")
    return 1 if errors or not entries else 0


if __name__ == "__main__":
    sys.exit(main())
