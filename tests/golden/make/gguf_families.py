#!/usr/bin/env python3
"""Writes tests/fixtures/gguf_blocks, and tests/fixtures/formats/gguf_FAMILY from tests/fixtures/families, by the gguf package: its tables of
tensor names and its writer, after llama.cpp's convert_hf_to_gguf.py (rows of q and k for ggml's rope, experts in
one tensor, vectors and routers as float32).

In the environment of families.py: pip install gguf
Usage: python gguf_families.py REPOSITORY
"""
import json
import pathlib
import shutil
import sys
import tempfile

import gguf
import numpy
import safetensors.torch
import torch

import families

# Models with experts are made for it: llama.cpp's have them in every layer.
MADE = {
    "mixtral": ("Mixtral", dict(families.MOE, num_local_experts=4, sliding_window=None)),
    "qwen2_moe": ("Qwen2Moe", dict(families.MOE, num_experts=4, moe_intermediate_size=16,
                                   shared_expert_intermediate_size=40, norm_topk_prob=False)),
    "qwen3_moe": ("Qwen3Moe", dict(families.MOE, head_dim=16, num_experts=4, moe_intermediate_size=16,
                                   norm_topk_prob=True)),
}

Arch = gguf.MODEL_ARCH
# family: (architecture, whether rows of q and k are interleaved)
MODELS = {"mixtral": (Arch.LLAMA, True), "qwen2_moe": (Arch.QWEN2MOE, False), "qwen3_moe": (Arch.QWEN3MOE, False),
          "olmo2": (Arch.OLMO2, False), "granite": (Arch.GRANITE, True), "phi3": (Arch.PHI3, False)}


def interleaved(weight, heads):
    """convert_hf_to_gguf.py: LlamaModel.permute."""
    shape = weight.shape
    return weight.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def stacked(tensors, layers):
    """Experts of a layer as one tensor, under the name that the package's table has for it."""
    for layer in range(layers):
        for name in ["gate_proj", "up_proj", "down_proj", "w1", "w2", "w3"]:
            experts = sorted((int(key.split(".experts.")[1].split(".")[0]), key) for key in tensors
                             if f"layers.{layer}." in key and ".experts." in key and f".{name}." in key)
            if experts:
                prefix = f"layers.{layer}.feed_forward" if name.startswith("w") else f"model.layers.{layer}.mlp"
                merged = f"{prefix}.experts.{name}.weight"
                tensors[merged] = torch.stack([tensors.pop(key) for _, key in experts])
    return tensors


def write_metadata(writer, config):
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    if config.get("head_dim"):
        writer.add_key_length(config["head_dim"])
        writer.add_value_length(config["head_dim"])
    head_size = config["hidden_size"] // config["num_attention_heads"]
    if "partial_rotary_factor" in config:
        writer.add_rope_dimension_count(int(head_size * config["partial_rotary_factor"]))
    experts = config.get("num_experts") or config.get("num_local_experts")
    if experts:
        writer.add_expert_count(experts)
        writer.add_expert_used_count(config["num_experts_per_tok"])
    for key, add in [("moe_intermediate_size", writer.add_expert_feed_forward_length),
                     ("shared_expert_intermediate_size", writer.add_expert_shared_feed_forward_length),
                     ("attention_multiplier", writer.add_attention_scale),
                     ("embedding_multiplier", writer.add_embedding_scale),
                     ("residual_multiplier", writer.add_residual_scale),
                     ("logits_scaling", writer.add_logit_scale), ("sliding_window", writer.add_sliding_window)]:
        if config.get(key):
            add(config[key])


def write(source, target, family):
    arch, interleaves = MODELS[family]
    config = json.loads((source / "config.json").read_text())
    layers = config["num_hidden_layers"]
    names = gguf.get_tensor_name_map(arch, layers)
    writer = gguf.GGUFWriter(target / "model-BF16.gguf", gguf.MODEL_ARCH_NAMES[arch])
    write_metadata(writer, config)
    tensors = stacked(safetensors.torch.load_file(source / "model.safetensors"), layers)
    for key, weight in sorted(tensors.items()):
        name = names.get_name(key, try_suffixes=(".weight", ".bias"))
        assert name, key
        heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}.get(key.split(".")[-2])
        if interleaves and heads:
            weight = interleaved(weight, config[heads])
        if key.endswith("shared_expert_gate.weight"):
            weight = weight.reshape(-1)
        if weight.ndim == 1 or "ffn_gate_inp" in name:
            writer.add_tensor(name, weight.float().numpy())
        else:
            bits = numpy.ascontiguousarray(weight.contiguous().view(torch.int16).numpy())
            writer.add_tensor(name, bits.view(numpy.uint8), raw_dtype=gguf.GGMLQuantizationType.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_blocks(target, kind):
    """Random Llamas of blocks alone, whose groups the borders between ranks cut."""
    config = dict(num_hidden_layers=1, max_position_embeddings=128, hidden_size=32, intermediate_size=96,
                  num_attention_heads=4, num_key_value_heads=2, rms_norm_eps=1e-5, rope_theta=10000.0)
    writer = gguf.GGUFWriter(target / f"model-{kind.name}.gguf", "llama")
    write_metadata(writer, config)
    numbers = numpy.random.default_rng(7)
    shapes = {"token_embd": (96, 32), "output": (96, 32), "blk.0.attn_q": (32, 32), "blk.0.attn_k": (16, 32),
              "blk.0.attn_v": (16, 32), "blk.0.attn_output": (32, 32), "blk.0.ffn_gate": (96, 32),
              "blk.0.ffn_up": (96, 32), "blk.0.ffn_down": (32, 96)}
    for name, shape in shapes.items():
        values = numbers.normal(0.02, 0.2, shape).astype(numpy.float32)
        writer.add_tensor(name + ".weight", gguf.quants.quantize(values, kind), raw_dtype=kind)
    for name in ["output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"]:
        writer.add_tensor(name + ".weight", numbers.normal(1, 0.1, 32).astype(numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    fixtures = pathlib.Path(sys.argv[1]).resolve() / "tests/fixtures"
    for kind in [gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_0, gguf.GGMLQuantizationType.Q4_1]:
        target = fixtures / "gguf_blocks" / kind.name.lower()
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        write_blocks(target, kind)
    for family in MODELS:
        target = fixtures / "formats" / f"gguf_{family}"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        if family not in MADE:
            write(fixtures / "families" / family, target, family)
            (target / "golden.json").symlink_to(f"../../families/{family}/golden.json")
            continue
        with tempfile.TemporaryDirectory() as made:
            families.MODELS[family] = MADE[family]
            families.make(family, pathlib.Path(made))
            source = next(pathlib.Path(made).rglob("config.json")).parent
            write(source, target, family)
            shutil.copy(source / "golden.json", target / "golden.json")


main()
