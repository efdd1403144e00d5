"""Writes tests/fixtures/ggml_blocks: random valid blocks of every quantisation that is read, and the
float32 values that the PyPI package `gguf` gives for them. Needs gguf and numpy."""
import pathlib

import numpy as np
from gguf import GGMLQuantizationType as Type, GGML_QUANT_SIZES, dequantize

# Where half-precision scales lie in a block: those must be finite.
HALVES = {Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q8_0: [0],
          Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208]}
BLOCKS = 8


def main():
    folder = pathlib.Path(__file__).resolve().parents[2] / "fixtures" / "ggml_blocks"
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(8)
    for kind, places in HALVES.items():
        blocks = random.integers(0, 256, (BLOCKS, GGML_QUANT_SIZES[kind][1]), dtype=np.uint8)
        for place in places:
            scales = (random.standard_normal(BLOCKS) * 0.1).astype(np.float16)
            blocks[:, place:place + 2] = scales.view(np.uint8).reshape(BLOCKS, 2)
        (folder / f"{kind.name.lower()}.blocks").write_bytes(blocks.tobytes())
        values = dequantize(blocks, kind).astype(np.float32)
        (folder / f"{kind.name.lower()}.f32").write_bytes(values.tobytes())


main()
