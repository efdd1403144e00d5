#!/usr/bin/env python3
"""What the engine makes of its workers, through the public API. Prints JSON lines.

    python3 -m engine.run [SCENARIO ...] [--quick]     default: all of them

Every figure is a ratio within one run, or counts the server's own CPU time: what else the machine
does matters less then, but still: run it on a machine that does nothing else.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile

import models
from engine.bubbles import busy_fractions, draw
from server import Server, grown, idle_fraction, sim, tell


def shapes(quick: bool) -> list:
    """(name, folder, tokens of an answer): the longer a token takes, the fewer."""
    bundled = ("bundled", models.BUNDLED, 64)
    return [bundled] if quick else [bundled, ("qwen05b", models.made("qwen05b"), 24)]


def throughput(_: pathlib.Path, quick: bool) -> None:
    """Tokens per second by concurrent streams at tp=2, and how long the workers waited for steps."""
    for name, model, output in shapes(quick):
        with Server("--tp", "2", "--max-model-len", "1024", model=model) as server:
            server.bench("--clients", 1, "--requests", 1, "--input", 32, "--output", 4)
            one = 0.0
            for streams in (1, 2, 4, 8, 16, 32):
                result = server.bench("--clients", streams, "--requests", 2 * streams, "--input", 32, "--output", output)
                rate = result["output_tokens_per_second"]
                one = one or rate
                tell("throughput", model=name, streams=streams, tokens_per_second=rate, ratio_to_one=rate / one,
                     workers_waiting=idle_fraction(result))


def engine_time(_: pathlib.Path, quick: bool) -> None:
    """CPU time of the engine's thread, by running sequences."""
    for running in (16, 256):
        flags = sim(20000, 0, "--max-num-seqs", "256")
        with Server(*flags) as server:
            result = server.bench("--clients", running, "--requests", running, "--input", 16, "--output", 60 if quick else 250)
            steps, cpu = grown(result, "steps_total"), grown(result, "engine_cpu_seconds")
            tell("engine_time", sequences=running, steps=int(steps), microseconds_per_step=cpu / steps * 1e6,
                 microseconds_per_message=cpu / result["messages"] * 1e6)


def shared_prefix(_: pathlib.Path, quick: bool) -> None:
    """Fifty requests that share a prompt of 1,000 tokens."""
    prefix, rest, output, count = 1000, 12, 4, 50
    for name, model, _ in shapes(quick):
        with Server("--tp", "2", "--max-model-len", "1024", model=model) as server:
            load = ["--shared-prefix", prefix, "--input", prefix + rest, "--output", output, "--temperature", 0]
            server.bench("--clients", 1, "--requests", 1, "--input", 64, "--output", output, "--seed", 77)
            misses = [server.bench(*load, "--clients", 1, "--requests", 1, "--seed", seed)["ttft"]["p50_ms"]
                      for seed in (101, 102, 103)]
            result = server.bench(*load, "--clients", 8, "--requests", count, "--seed", 5)
            alone = server.bench(*load, "--clients", 1, "--requests", 10, "--seed", 5)
            # The prefix once, and what each has of its own.
            ideal = prefix + count * rest
            tell("shared_prefix", model=name, computed_tokens=int(grown(result, "prefill_tokens_total")), ideal=ideal,
                 ratio=grown(result, "prefill_tokens_total") / ideal, ttft_miss_ms=statistics.median(misses),
                 ttft_hit_ms=alone["ttft"]["p50_ms"], hit_to_miss=alone["ttft"]["p50_ms"] / statistics.median(misses))


def many_prompts(_: pathlib.Path, quick: bool) -> None:
    """Eight prompts of 128 tokens at once: the first tokens must not all wait for the last prompt."""
    for name, model, _ in shapes(quick):
        with Server("--tp", "2", "--max-num-batched-tokens", "128", "--max-model-len", "1024", model=model) as server:
            server.bench("--clients", 1, "--requests", 1, "--input", 64, "--output", 2, "--seed", 77)
            result = server.bench("--clients", 8, "--requests", 8, "--input", 128, "--output", 2)
            tell("many_prompts", model=name, ttft_median_ms=result["ttft"]["p50_ms"], all_prefills_ms=result["ttft"]["max_ms"],
                 ratio=result["ttft"]["p50_ms"] / result["ttft"]["max_ms"])


def bubbles(folder: pathlib.Path, quick: bool) -> None:
    """How busy the four stages of a simulated pipeline are at saturation; draws them."""
    trace = folder / "trace.jsonl"
    flags = sim(20000, 20, "--pp", "4", "--sim-trace", str(trace), "--max-num-seqs", "256")
    with Server(*flags) as server:
        server.bench("--clients", 256, "--duration", 3 if quick else 10, "--input", 32, "--output", "exponential:128")
    fractions = busy_fractions(trace)
    plot = pathlib.Path("bubbles.svg").resolve()
    plot.write_text(draw(trace))
    tell("bubbles", **{f"stage_{stage}": fraction for stage, fraction in enumerate(fractions)}, plot=str(plot))


def messages(_: pathlib.Path, quick: bool) -> None:
    """Messages and tokens a second through gRPC, and whose CPU time it took."""
    for streams, fixed_us in ((64, 10000), (256, 10000), (1024, 50000), (1024, 10000)):
        with Server(*sim(fixed_us, 0, "--max-num-seqs", "4096", "--max-num-batched-tokens", "8192")) as server:
            before = server.cpu_seconds()
            result = server.bench("--clients", streams, "--duration", 3 if quick else 8, "--input", 16, "--output", 400, "--grace", 120)
            cpu = server.cpu_seconds() - before
            tell("messages", streams=streams, step_ms=fixed_us / 1000, messages_per_second=result["messages_per_second"],
                 tokens_per_second=result["output_tokens_per_second"], between_tokens_p99_ms=result["inter_token"]["p99_ms"],
                 server_us_per_message=cpu / result["messages"] * 1e6,
                 engine_us_per_message=grown(result, "engine_cpu_seconds") / result["messages"] * 1e6,
                 generator_cpu_share=result["generator_cpu_share"])


def streams(_: pathlib.Path, quick: bool) -> None:
    """Thousands of streams at a time, and the server's memory for one that waits."""
    count = 1000 if quick else 5000
    flags = sim(1000000, 0, "--max-num-seqs", "4096", "--max-num-batched-tokens", "8192", "--max-queue", "10000")
    with Server(*flags) as server:
        before = server.memory()
        load = server.tessera("bench", "--json", "--clients", count, "--requests", count, "--input", 16, "--output", 8, "--grace", 120)
        most = before
        while load.poll() is None:
            most = max(most, server.memory())
            try:
                load.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                pass
        result = json.loads(load.stdout.read())
        tell("streams", streams=result["peak_streams"], failed=result["failed"], kilobytes_per_stream=(most - before) / count / 1024)


def ranks(_: pathlib.Path, quick: bool) -> None:
    """A deployment of 64 ranks."""
    with Server(*sim(20000, 0, "--tp", "8", "--pp", "8", "--max-num-seqs", "256")) as server:
        result = server.bench("--clients", 64, "--duration", 3 if quick else 10, "--input", 16, "--output", 32)
        tell("ranks", ranks=64, tokens_per_second=result["output_tokens_per_second"], steps=int(grown(result, "steps_total")),
             failed=result["failed"])


SCENARIOS = [throughput, engine_time, shared_prefix, many_prompts, bubbles, messages, streams, ranks]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(s.__name__ for s in SCENARIOS))
    parser.add_argument("--quick", action="store_true", help="shorter, and without the model of 0.5 B parameters")
    arguments = parser.parse_args()
    unknown = set(arguments.scenarios) - {scenario.__name__ for scenario in SCENARIOS}
    if unknown:
        parser.error(f"no scenario {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as folder:
        for scenario in SCENARIOS:
            if not arguments.scenarios or scenario.__name__ in arguments.scenarios:
                scenario(pathlib.Path(folder), arguments.quick)


if __name__ == "__main__":
    main()
