#!/usr/bin/env python3
"""How a machine's cores are best used, through the public API: pairs of servers, asked in turn. Prints JSON lines.

    python3 -m ranks.run [SCENARIO ...] [--pairs N] [--dtypes bf16,int8,int4]     default: all of them, 7 pairs

Figures are medians of ratios, each of two loads one after the other. Run it on a machine that does nothing else.
"""
import argparse
import os
import statistics
import subprocess
import sys

import models
from server import Server, tell

CPUS = sorted(os.sched_getaffinity(0))[:2]
CPU_FLAGS = ("--cpus", ",".join(map(str, CPUS)))  # shared out among the ranks, whose threads stay on theirs
ONE_RANK = ("--tp", "1", *CPU_FLAGS)
TWO_RANKS = ("--tp", "2", *CPU_FLAGS)
LOADS = {  # of one client: what is measured, and how
    "prefill": (("--requests", 2, "--input", 512, "--output", 1), lambda result: result["ttft"]["p50_ms"]),
    "decode": (("--requests", 1, "--input", 16, "--output", 48), lambda result: result["inter_token"]["p50_ms"]),
}


def serve(model: str, *flags: str) -> Server:
    path = models.BUNDLED if model == "bundled" else models.made(model)
    return Server("--max-model-len", "1024", "--no-prefix-cache", *flags, model=path)


def measure(server: Server, load: str, seed: int) -> float:
    """Milliseconds."""
    flags, figure = LOADS[load]
    return figure(server.bench("--clients", 1, "--seed", seed, *flags))


def compare(bench: str, first: Server, second: Server, pairs: int, **labels) -> None:
    """The time of the first server beside the second's."""
    for load in LOADS:
        for server in (first, second):
            measure(server, load, 1)
        ratios = []
        for seed in range(pairs):
            one, other = measure(first, load, seed), measure(second, load, seed)
            ratios.append(one / other)
        tell(bench, **labels, load=load, ratio=statistics.median(ratios), least=min(ratios), most=max(ratios))


def lanes(flags: argparse.Namespace) -> None:
    """What one answer at every degree costs: 8 lanes beside one."""
    for dtype in flags.dtypes.split(","):
        with serve(flags.model, *ONE_RANK, "--dtype", dtype, "--lanes", "8") as eight, \
                serve(flags.model, *ONE_RANK, "--dtype", dtype, "--lanes", "1") as one:
            compare("lanes", eight, one, flags.pairs, model=flags.model, dtype=dtype)


def ranks(flags: argparse.Namespace) -> None:
    """Two ranks of a thread each beside one rank of two threads."""
    for dtype in flags.dtypes.split(","):
        with serve(flags.model, *TWO_RANKS, "--dtype", dtype) as two, serve(flags.model, *ONE_RANK, "--dtype", dtype) as one:
            compare("ranks", two, one, flags.pairs, model=flags.model, dtype=dtype)


def busy_core(flags: argparse.Namespace) -> None:
    """The time between tokens at p95 with one CPU of two taken by somebody else, beside the quiet one."""
    load = ("--clients", 1, "--requests", 1, "--input", 16)
    for model, tokens in (("bundled", 900), (flags.model, 64)):
        for name, degrees in (("tp=1", ONE_RANK), ("tp=2", TWO_RANKS)):
            with serve(model, *degrees) as server:
                server.bench(*load, "--output", 8)
                ratios = []
                for seed in range(max(3, flags.pairs // 2)):
                    quiet = server.bench(*load, "--output", tokens, "--seed", seed)["inter_token"]["p95_ms"]
                    other = subprocess.Popen([sys.executable, "-c", "while True: pass"],
                                             preexec_fn=lambda: os.sched_setaffinity(0, {CPUS[-1]}))
                    try:
                        busy = server.bench(*load, "--output", tokens, "--seed", seed)["inter_token"]["p95_ms"]
                    finally:
                        other.kill()
                        other.wait()
                    ratios.append(busy / quiet)
                tell("busy_core", model=model, ranks=name, p95_ratio=statistics.median(ratios), least=min(ratios), most=max(ratios))


SCENARIOS = [lanes, ranks, busy_core]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [scenario.__name__ for scenario in SCENARIOS]
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(names))
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--model", default="qwen05b", help="of make_model.py")
    parser.add_argument("--dtypes", default="bf16,int8,int4")
    flags = parser.parse_args()
    if unknown := set(flags.scenarios) - set(names):
        parser.error(f"no scenario {', '.join(sorted(unknown))}")
    for scenario in SCENARIOS:
        if not flags.scenarios or scenario.__name__ in flags.scenarios:
            scenario(flags)


if __name__ == "__main__":
    main()
