#!/usr/bin/env python3
"""A kernel object shares no function with other files: a function that the linker may merge (an inline
one, a template of a library) would carry AVX-512 instructions to machines that have none."""
import argparse
import re
import subprocess
import sys


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nm", required=True)
    parser.add_argument("--library", required=True)
    args = parser.parse_args()
    listing = subprocess.run([args.nm, "-C", "--defined-only", args.library], check=True,
                             capture_output=True, text=True).stdout
    member, kernels, shared = "", 0, []
    for line in listing.splitlines():
        if line.endswith(".o:"):
            member = line[:-1]
            kernels += member.startswith("kernels_")
        symbol = re.match(r"[0-9a-f]* ([VWuBDRTvw]) (.*)", line)
        if symbol and member.startswith("kernels_"):
            own = re.fullmatch(r"tessera::worker::k\w+Kernels", symbol.group(2))
            if symbol.group(1) in "VWuvw" or not own:
                shared.append(f"{member}: {symbol.group(2)}")
    for line in shared:
        print(f"{line}: move it into the anonymous namespace, or out of the kernels")
    print(f"{kernels} kernel objects")
    return 1 if shared or kernels == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
