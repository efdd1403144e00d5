#!/usr/bin/env python3
"""The same limits and steps through PyTorch, where it is there: JSON lines beside cuda_bench's."""
import json
import sys
import time


def timed(torch, body, seconds=1.0):
    for _ in range(3):
        body()
    torch.cuda.synchronize()
    times, end = [], time.perf_counter() + seconds
    while len(times) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        body()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def layer_weights(torch):
    make = lambda rows, columns: torch.randn(rows, columns, device="cuda", dtype=torch.bfloat16) * 0.02
    return {"qkv": make(6144, 4096), "out": make(4096, 4096), "gate_up": make(28672, 4096),
            "down": make(4096, 14336)}


def layer(torch, x, weights, keys, values):
    functional = torch.nn.functional
    h = functional.rms_norm(x, (4096,))
    qkv = functional.linear(h, weights["qkv"])
    q = qkv[..., :4096].reshape(x.shape[0], x.shape[1], 32, 128).transpose(1, 2)
    if keys is None:
        k = qkv[..., 4096:5120].reshape(x.shape[0], x.shape[1], 8, 128).transpose(1, 2)
        v = qkv[..., 5120:].reshape(x.shape[0], x.shape[1], 8, 128).transpose(1, 2)
    else:
        k, v = keys, values
    attended = functional.scaled_dot_product_attention(q, k, v, is_causal=keys is None, enable_gqa=True)
    x = x + functional.linear(attended.transpose(1, 2).reshape(x.shape), weights["out"])
    gate, up = functional.linear(functional.rms_norm(x, (4096,)), weights["gate_up"]).chunk(2, -1)
    return x + functional.linear(functional.silu(gate) * up, weights["down"])


def main() -> int:
    try:
        import torch
    except ImportError:
        print(json.dumps({"bench": "torch", "missing": "PyTorch is not installed"}))
        return 0
    if not torch.cuda.is_available():
        print(json.dumps({"bench": "torch", "missing": "PyTorch sees no device"}))
        return 0
    layers = int(sys.argv[1]) if len(sys.argv) > 1 else 32
    a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    seconds = timed(torch, lambda: a @ a)
    print(json.dumps({"bench": "torch_product", "size": 8192, "tflops": 2e-12 * 8192**3 / seconds}))
    weights = [layer_weights(torch) for _ in range(layers)]
    head = torch.randn(128256, 4096, device="cuda", dtype=torch.bfloat16) * 0.02
    with torch.inference_mode():
        for batch in (1, 32, 128):
            x = torch.randn(batch, 1, 4096, device="cuda", dtype=torch.bfloat16)
            keys = torch.randn(batch, 8, 513, 128, device="cuda", dtype=torch.bfloat16)

            def step():
                y = x
                for each in weights:
                    y = layer(torch, y, each, keys, keys)
                return y @ head.T

            graph = torch.cuda.CUDAGraph()
            step()
            torch.cuda.synchronize()
            with torch.cuda.graph(graph):
                step()
            print(json.dumps({"bench": "torch_decode", "batch": batch,
                              "ms": 1e3 * timed(torch, graph.replay)}))
        x = torch.randn(1, 4096, 4096, device="cuda", dtype=torch.bfloat16)

        def prefill():
            y = x
            for each in weights:
                y = layer(torch, y, each, None, None)
            return y[:, -1:] @ head.T

        print(json.dumps({"bench": "torch_prefill", "tokens": 4096, "ms": 1e3 * timed(torch, prefill)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
