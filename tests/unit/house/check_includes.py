#!/usr/bin/env python3
"""Every #include follows the table "Who may include whom" of README.md, and the headers of outside
libraries stay in the folders that may see them."""
import argparse
import pathlib
import re
import sys

TOPS = ("proto", "shard_loader", "worker", "server", "client")
INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)', re.M)
# Outside headers and the folders that may see them.
CONFINED = [
    (re.compile(r"^(mpi\.h|gloo/|nccl)"), ("worker/comm",)),
    (re.compile(r"^(cuda|cublas|cudnn)"), ("worker/backend/cuda", "worker/comm", "worker/tensor")),
    (re.compile(r"\.pb\.h$"),
     ("proto/rpc", "server/frontend", "server/executor", "worker/app", "client/lib")),
    (re.compile(r"^(grpcpp|grpc)/"),
     ("proto/rpc", "server/frontend", "server/executor", "server/app", "worker/app", "client/lib")),
]


def read_table(readme: str) -> dict[str, set[str]]:
    """The rows `| `folder` | `folder`, ... |` of the section, closed over includes of includes."""
    section = re.search(r"## Who may include whom\n(.*?)(?=\n## )", readme, re.S)
    if not section:
        sys.exit("README.md has no section 'Who may include whom'")
    table = {}
    for row in re.findall(r"^\|(.+)\|(.+)\|$", section.group(1), re.M):
        names = re.findall(r"`([a-z_/0-9]+)`", row[0])
        if names:
            table[names[0]] = set(re.findall(r"`([a-z_/0-9]+)`", row[1]))
    changed = True
    while changed:
        changed = False
        for allowed in table.values():
            more = set().union(*(table.get(name, set()) for name in allowed)) - allowed
            if more:
                allowed |= more
                changed = True
    return table


def folder_of(path: str) -> str:
    """`server/text/jinja/lexer.h` lies in `server/text`; `shard_loader/mutex.h` in `shard_loader`."""
    parts = path.split("/")
    if parts[0] not in TOPS or len(parts) == 2:
        return parts[0]
    return "/".join(parts[:2])


def problems(path: str, text: str, table: dict[str, set[str]]) -> list[str]:
    """What is wrong with the includes of one file (path relative to the root)."""
    folder = folder_of(path)
    found = []
    for quoted, angled in INCLUDE.findall(text):
        name = quoted or angled
        for pattern, homes in CONFINED:
            if pattern.search(name) and not any(path.startswith(home + "/") for home in homes):
                found.append(f"{path}: includes {name}, which only {', '.join(homes)} may see")
        top = name.split("/")[0]
        if top == "tests":
            found.append(f"{path}: includes {name}: nothing includes tests")
        if top not in TOPS or name.endswith(".pb.h"):
            continue
        target = folder_of(name)
        if target != folder and target not in table.get(folder, set()):
            found.append(f"{path}: includes {name}: {folder} may not include {target}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", required=True, type=pathlib.Path)
    parser.add_argument("--build")
    source = parser.parse_args().source
    table = read_table((source / "README.md").read_text())
    found, seen = [], 0
    for top in TOPS:
        for file in sorted((source / top).rglob("*")):
            if file.suffix in (".h", ".cc", ".cu", ".cuh"):
                path = file.relative_to(source).as_posix()
                seen += 1
                folder = folder_of(path)
                if folder != top and folder not in table:
                    found.append(f"{path}: README.md's table has no row for {folder}")
                found += problems(path, file.read_text(), table)
    print("\n".join(found) or f"{seen} files follow the table")
    return 1 if found or not seen else 0


if __name__ == "__main__":
    sys.exit(main())
