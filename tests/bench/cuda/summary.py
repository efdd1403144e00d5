#!/usr/bin/env python3
"""The records of a run of gpu-check.sh against the limits of the same run: a table on the terminal, and
one more record. Reads JSON lines from a file; says of each ratio what it is of what."""
import json
import sys


def main() -> int:
    records = [json.loads(line) for line in open(sys.argv[1]) if line.strip()]
    found = {}
    for record in records:
        found[(record.get("bench"), record.get("batch"))] = record
    rows = []

    def ratio(name, above, below, of, least=None):
        if above is None or below is None or below == 0:
            rows.append((name, None, of, least))
        else:
            rows.append((name, above / below, of, least))

    def value(bench, key, batch=None):
        return found.get((bench, batch), {}).get(key)

    for batch in (1, 32, 128):
        ratio(f"decode, batch {batch}", value("decode", "weights_of_copy_bandwidth", batch), 1.0,
              "of copy bandwidth", 0.8 if batch == 1 else None)
        ratio(f"decode, batch {batch}", value("torch_decode", "ms", batch), value("decode", "ms", batch),
              "of PyTorch's speed")
        ratio(f"graph, batch {batch}", value("decode", "eager_ms", batch), value("decode", "ms", batch),
              "of the eager step's speed")
        ratio(f"draws, batch {batch}", value("decode", "draws_ms", batch), value("decode", "ms", batch),
              "of a step's time")
        ratio(f"int8, batch {batch}", value("decode", "ms", batch), value("decode_int8", "ms", batch),
              "of bf16's speed")
        ratio(f"int8 cache, batch {batch}", value("decode", "ms", batch),
              value("decode_kv_int8", "ms", batch), "of a bf16 cache's speed")
        ratio(f"experts' graph, batch {batch}", value("decode_experts", "eager_ms", batch),
              value("decode_experts", "ms", batch), "of the eager step's speed")
    ratio("prefill", value("prefill", "tflops"), value("torch_product", "tflops"),
          "of a large cuBLAS product's rate", 0.6)
    ratio("prefill", value("torch_prefill", "ms"), value("prefill", "ms"), "of PyTorch's speed")
    print(f"{'':24} {'ratio':>7}  {'goal':>5}")
    for name, number, of, least in rows:
        text = "   -   " if number is None else f"{number:7.3f}"
        print(f"{name:24} {text}  {'' if least is None else least:>5}  {of}")
    print(json.dumps({"summary": [
        {"name": name, "ratio": number, "of": of, "goal": least} for name, number, of, least in rows]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
