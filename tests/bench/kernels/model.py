#!/usr/bin/env python3
"""Prefill and decode of models of random weights in real shapes, in every dtype: model_bench as a fraction of the machine's limits.

    python3 -m kernels.model [--models llama1b,qwen05b] [--dtypes bf16,int8,int4] [--threads N] [--kernels SET] [--folder DIR]

The models are made once, in --folder (default: tessera-bench-models in the temporary folder; 2.5 GB for llama1b), and stay there.
"""
import argparse
import os
import pathlib
import subprocess
import sys

import models
from server import BUILD


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="llama1b,qwen05b")
    parser.add_argument("--dtypes", default="bf16,int8,int4")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--kernels", default="auto")
    parser.add_argument("--folder", type=pathlib.Path, default=models.FOLDER)
    flags = parser.parse_args()
    for name in flags.models.split(","):
        path = models.made(name, flags.folder)
        for dtype in flags.dtypes.split(","):
            subprocess.run([BUILD / "tests/model_bench", path, dtype, str(flags.threads), flags.kernels], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
