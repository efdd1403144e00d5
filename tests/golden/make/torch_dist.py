"""Writes tests/fixtures/formats/{torch_dist_llama,megatron_dist_llama_tp2_pp2} from llama_small.

In a venv: pip install torch safetensors numpy megatron-core
Usage: python torch_dist.py REPOSITORY

torch_dist_llama: torch.distributed.checkpoint's own writer, two processes, each matrix cut by rows or columns, as
FSDP or tensor parallelism leave them. megatron_dist_llama_tp2_pp2: megatron.core.dist_checkpointing's own writer, four
processes (tensor 2 x pipeline 2) with the sharded state that a Megatron-Core GPTModel describes.
"""
import argparse
import json
import os
import pathlib
import shutil
import sys

import safetensors.torch
import torch
import torch.distributed as dist
import torch.multiprocessing

COPIED = ["config.json", "generation_config.json"]  # golden.json is a link to the source's


def write_dcp(rank, folder, tensors):
    from torch.distributed.checkpoint import FileSystemWriter, save
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    mesh = init_device_mesh("cpu", (2,))
    state = {}
    for name, tensor in sorted(tensors.items()):
        cut = Replicate() if tensor.ndim == 1 else Shard(1) if "o_proj" in name or "down_proj" in name else Shard(0)
        state[name] = distribute_tensor(tensor, mesh, [cut])
    save({"model": state}, storage_writer=FileSystemWriter(folder))


def write_megatron(rank, folder, tensors):
    torch.cuda.synchronize = lambda *_: None  # the writer waits for a device that is not there,
    torch.cuda.current_device = lambda: "cpu"  # and gathers on it
    from megatron.core import dist_checkpointing
    from megatron.core.dist_checkpointing import ShardedTensor

    config = json.loads((pathlib.Path(folder).parent / "config.json").read_text())
    layers, heads = config["num_hidden_layers"], config["num_attention_heads"]
    tp, pp = rank % 2, rank // 2
    each = layers // 2
    state = {}

    def add(key, tensor, offsets, replica, axes=0):
        state[key] = ShardedTensor.from_rank_offsets(key, tensor.contiguous(), *offsets, replica_id=replica,
                                                     prepend_axis_num=axes)

    def layer_tensor(key, layer, tensor, axis):
        # Layers that are alike are one tensor with the layer in front.
        part = tensor if axis is None else tensor.chunk(2, axis)[tp]
        offsets = [(0, layer, layers)] + ([] if axis is None else [(axis + 1, tp, 2)])
        name = f"decoder.layers.{layer - pp * each}.{key}"
        state[name] = ShardedTensor.from_rank_offsets(f"decoder.layers.{key}", part.contiguous(), *offsets,
                                                      replica_id=0 if axis is not None else tp, prepend_axis_num=1)

    for layer in range(pp * each, (pp + 1) * each):
        base = f"model.layers.{layer}."
        q, k, v = (tensors[base + f"self_attn.{x}_proj.weight"].view(heads, -1, config["hidden_size"]) for x in "qkv")
        layer_tensor("self_attention.linear_qkv.weight", layer,
                     torch.cat([q, k, v], 1).reshape(-1, config["hidden_size"]), 0)
        layer_tensor("self_attention.linear_qkv.layer_norm_weight", layer, tensors[base + "input_layernorm.weight"], None)
        layer_tensor("self_attention.linear_proj.weight", layer, tensors[base + "self_attn.o_proj.weight"], 1)
        layer_tensor("mlp.linear_fc1.layer_norm_weight", layer, tensors[base + "post_attention_layernorm.weight"], None)
        layer_tensor("mlp.linear_fc2.weight", layer, tensors[base + "mlp.down_proj.weight"], 1)
        # SwiGLU: gate and up are one tensor, each cut over the ranks by itself.
        for half, name in enumerate(["gate_proj", "up_proj"]):
            part = tensors[base + f"mlp.{name}.weight"].chunk(2, 0)[tp]
            local = layer - pp * each
            state[f"decoder.layers.{local}.mlp.linear_fc1.weight.{half}"] = ShardedTensor.from_rank_offsets(
                "decoder.layers.mlp.linear_fc1.weight", part.contiguous(), (0, layer, layers), (1, half * 2 + tp, 4),
                replica_id=0, prepend_axis_num=1)
    if pp == 0:
        add("embedding.word_embeddings.weight", tensors["model.embed_tokens.weight"].chunk(2, 0)[tp], [(0, tp, 2)], 0)
    else:
        add("output_layer.weight", tensors["lm_head.weight"].chunk(2, 0)[tp], [(0, tp, 2)], 0)
        add("decoder.final_layernorm.weight", tensors["model.norm.weight"], [], tp)
    state["args"] = argparse.Namespace(
        num_layers=layers, hidden_size=config["hidden_size"], ffn_hidden_size=config["intermediate_size"],
        num_attention_heads=heads, kv_channels=None, group_query_attention=False, num_query_groups=1,
        max_position_embeddings=config["max_position_embeddings"], rotary_base=10000, padded_vocab_size=512,
        vocab_size=config["vocab_size"], norm_epsilon=config["rms_norm_eps"], swiglu=True, normalization="RMSNorm",
        position_embedding_type="rope", untie_embeddings_and_output_weights=True, add_bias_linear=False,
        add_qkv_bias=False, qk_layernorm=False, params_dtype=torch.float32)
    state["checkpoint_version"] = 3.0
    state["iteration"] = 10
    dist_checkpointing.save(state, folder)


def worker(rank, count, write, folder, tensors, port):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=count)
    write(rank, folder, tensors)
    dist.destroy_process_group()


def main():
    repository = pathlib.Path(sys.argv[1]).resolve()
    source = repository / "tests/fixtures/checkpoints/llama_small"
    tensors = safetensors.torch.load_file(source / "model.safetensors")
    only = sys.argv[2:]
    for name, inner, count, write in [("torch_dist_llama", "", 2, write_dcp),
                                      ("megatron_dist_llama_tp2_pp2", "iter_0000010", 4, write_megatron)]:
        if only and name not in only:
            continue
        folder = repository / "tests/fixtures/formats" / name
        shutil.rmtree(folder, ignore_errors=True)
        (folder / inner).mkdir(parents=True)
        for file in COPIED:
            shutil.copy(source / file, folder / file)
        (folder / "golden.json").symlink_to("../../checkpoints/llama_small/golden.json")
        if inner:
            (folder / "latest_checkpointed_iteration.txt").write_text("10")
        torch.multiprocessing.spawn(worker, (count, write, str(folder / inner), tensors, 29517), nprocs=count)


if __name__ == "__main__":
    main()
