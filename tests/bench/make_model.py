#!/usr/bin/env python3
"""Models of random weights in real shapes, as Hugging Face folders in bf16; Python's own library is enough.

    make_model.py OUTDIR [--model llama1b|qwen05b|tiny|all] [--seed 1]

Weights are normal with a deviation of 0.02, norms are 1 plus that. The numbers of all tensors come from one pool that
each tensor enters at another place: for speed that is as good as drawing every number. The same seed gives the same bytes.
"""
import argparse
import array
import json
import os
import random
import struct

MODELS = {
    "llama1b": dict(arch="llama", hidden=2048, layers=16, heads=32, kv=8, size=64, mlp=8192, vocab=128256, eps=1e-5,
                    theta=500000.0, context=131072, bos=128000, eos=128001, special=128000, bias=False,
                    scaling=dict(factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                 original_max_position_embeddings=8192, rope_type="llama3")),
    "qwen05b": dict(arch="qwen2", hidden=896, layers=24, heads=14, kv=2, size=64, mlp=4864, vocab=151936, eps=1e-6,
                    theta=1000000.0, context=32768, bos=151643, eos=151645, special=151643, bias=True, scaling=None),
    "tiny": dict(arch="llama", hidden=256, layers=2, heads=4, kv=2, size=64, mlp=512, vocab=1024, eps=1e-5,
                 theta=10000.0, context=2048, bos=1000, eos=1001, special=1000, bias=False, scaling=None),
}
POOL = (1 << 20) + 7  # numbers; not a multiple of any row


def tensors(m):
    """(name, shape, kind) of every tensor; kind "norm" is around 1, "weight" around 0."""
    hidden, heads, kv = m["hidden"], m["heads"] * m["size"], m["kv"] * m["size"]
    yield "model.embed_tokens.weight", (m["vocab"], hidden), "weight"
    for i in range(m["layers"]):
        p = f"model.layers.{i}."
        yield p + "input_layernorm.weight", (hidden,), "norm"
        for name, rows in (("q", heads), ("k", kv), ("v", kv)):
            yield p + f"self_attn.{name}_proj.weight", (rows, hidden), "weight"
            if m["bias"]:
                yield p + f"self_attn.{name}_proj.bias", (rows,), "weight"
        yield p + "self_attn.o_proj.weight", (hidden, heads), "weight"
        yield p + "post_attention_layernorm.weight", (hidden,), "norm"
        yield p + "mlp.gate_proj.weight", (m["mlp"], hidden), "weight"
        yield p + "mlp.up_proj.weight", (m["mlp"], hidden), "weight"
        yield p + "mlp.down_proj.weight", (hidden, m["mlp"]), "weight"
    yield "model.norm.weight", (hidden,), "norm"


def bf16(value):
    return struct.unpack("<I", struct.pack("<f", value))[0] >> 16


def config(m):
    result = dict(architectures=["LlamaForCausalLM" if m["arch"] == "llama" else "Qwen2ForCausalLM"],
                  model_type=m["arch"], hidden_size=m["hidden"], num_hidden_layers=m["layers"],
                  num_attention_heads=m["heads"], num_key_value_heads=m["kv"], intermediate_size=m["mlp"],
                  vocab_size=m["vocab"], rms_norm_eps=m["eps"], rope_theta=m["theta"],
                  max_position_embeddings=m["context"], hidden_act="silu", tie_word_embeddings=True,
                  torch_dtype="bfloat16", bos_token_id=m["bos"], eos_token_id=m["eos"])
    if m["arch"] == "llama":
        result.update(head_dim=m["size"], attention_bias=False, mlp_bias=False)
    else:
        result.update(use_sliding_window=False, sliding_window=m["context"], max_window_layers=m["layers"])
    if m["scaling"]:
        result["rope_scaling"] = m["scaling"]
    return result


def tokenizer(m):
    """A byte-level one: 256 bytes, two merges, made-up words, control tokens."""
    bytes_shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in bytes_shown]
    shown = {b: chr(b) for b in bytes_shown} | {b: chr(256 + i) for i, b in enumerate(others)}
    words = [shown[b] for b in range(256)] + ["th", "the"]
    words += [f"\u0120w{i:x}" for i in range(len(words), m["special"])]
    control = [f"<|s{i}|>" for i in range(m["special"], m["vocab"])]
    control[m["bos"] - m["special"]] = "<|begin|>"
    control[m["eos"] - m["special"]] = "<|end|>"
    added = [dict(id=m["special"] + i, content=c, single_word=False, lstrip=False, rstrip=False, normalized=False,
                  special=True) for i, c in enumerate(control)]
    return dict(version="1.0", truncation=None, padding=None, normalizer=None, added_tokens=added, post_processor=None,
                pre_tokenizer=dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True),
                decoder=dict(type="ByteLevel", add_prefix_space=True, trim_offsets=True, use_regex=True),
                model=dict(type="BPE", dropout=None, unk_token=None, continuing_subword_prefix=None,
                           end_of_word_suffix=None, fuse_unk=False, byte_fallback=False, ignore_merges=False,
                           vocab={w: i for i, w in enumerate(words)}, merges=["t h", "th e"]))


def elements(shape):
    count = 1
    for size in shape:
        count *= size
    return count


def write_weights(path, m, seed):
    draw = random.Random(seed)
    normal = [draw.gauss(0, 0.02) for _ in range(POOL)]
    pools = {"weight": array.array("H", map(bf16, normal)).tobytes(),
             "norm": array.array("H", (bf16(1 + x) for x in normal)).tobytes()}
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, shape, _ in tensors(m):
        size = 2 * elements(shape)
        header[name] = dict(dtype="BF16", shape=list(shape), data_offsets=[offset, offset + size])
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for index, (_, shape, kind) in enumerate(tensors(m)):
            left = 2 * elements(shape)
            start = 2 * (index * 7919 % POOL)
            while left > 0:
                part = pools[kind][start:start + left]
                file.write(part)
                left -= len(part)
                start = 0


def make(name, out, seed):
    m = MODELS[name]
    folder = os.path.join(out, name)
    os.makedirs(folder, exist_ok=True)
    files = {"config.json": config(m), "tokenizer.json": tokenizer(m),
             "generation_config.json": dict(bos_token_id=m["bos"], eos_token_id=m["eos"], do_sample=False),
             "tokenizer_config.json": dict(tokenizer_class="PreTrainedTokenizerFast", bos_token="<|begin|>",
                                           eos_token="<|end|>", model_max_length=m["context"])}
    for file_name, content in files.items():
        with open(os.path.join(folder, file_name), "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
    write_weights(os.path.join(folder, "model.safetensors"), m, seed)
    print(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--model", default="all", choices=[*MODELS, "all"])
    parser.add_argument("--seed", type=int, default=1)
    flags = parser.parse_args()
    for name in ["llama1b", "qwen05b"] if flags.model == "all" else [flags.model]:
        make(name, flags.out, flags.seed)


if __name__ == "__main__":
    main()
