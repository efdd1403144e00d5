#!/usr/bin/env python3
"""No file outgrows 800 lines, no function 100 (kernels may: worker/backend)."""
import argparse
import json
import pathlib
import shutil
import subprocess
import sys

MAX_FILE = 800
MAX_FUNCTION = 100
FOLDERS = ("proto", "shard_loader", "worker", "server", "client", "tests", "deploy")
SOURCES = (".h", ".cc", ".cu", ".cuh")


def long_files(files: dict[str, int]) -> list[str]:
    return [f"{name}: {lines} lines, {MAX_FILE} is the end" for name, lines in files.items()
            if lines > MAX_FILE]


def long_functions(tags: str) -> list[str]:
    """`tags`: lines of JSON from ctags, with line and end of every function."""
    found = []
    for line in tags.splitlines():
        tag = json.loads(line)
        if tag.get("_type") != "tag" or "end" not in tag:
            continue
        length = tag["end"] - tag["line"] + 1
        kernel = tag["path"].startswith("worker/backend/")
        if length > MAX_FUNCTION and not kernel:
            found.append(f"{tag['path']}:{tag['line']}: {tag['name']} has {length} lines, "
                         f"{MAX_FUNCTION} is the end")
    return found


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", required=True, type=pathlib.Path)
    parser.add_argument("--build")
    source = parser.parse_args().source
    if not shutil.which("ctags"):
        print("SKIPPED: ctags is missing (package universal-ctags)")
        return 77
    files = [file for folder in FOLDERS for file in sorted((source / folder).rglob("*"))
             if file.suffix in SOURCES + (".py", ".sh", ".proto", ".cmake") and file.is_file()
             and "fixtures" not in file.parts and "models" not in file.parts]
    lines = {file.relative_to(source).as_posix(): len(file.read_text().splitlines())
             for file in files}
    names = [name for name in lines if name.endswith(SOURCES) and not name.startswith("tests/")]
    tags = subprocess.run(
        ["ctags", "--output-format=json", "--languages=C++,C", "--kinds-C++=f", "--fields=+ne",
         "--langmap=C++:+.cu.cuh.h", "-L", "-", "-f", "-"],
        input="\n".join(names), capture_output=True, text=True, cwd=source, check=True).stdout
    found = long_files(lines) + long_functions(tags)
    print("\n".join(found) or f"{len(lines)} files, {len(tags.splitlines())} functions: none too long")
    return 1 if found or not names else 0


if __name__ == "__main__":
    sys.exit(main())
