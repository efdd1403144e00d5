"""Writes tests/fixtures/formats/deepspeed_universal from llama_small, in the layout of ds_to_universal.py: a folder for
each parameter, whose fp32.pt holds {"param": tensor} (and for vocabulary-like ones more), beside the optimizer's states.

In a venv: pip install torch safetensors
Usage: python deepspeed_universal.py REPOSITORY
"""
import pathlib
import shutil
import sys

import safetensors.torch
import torch

COPIED = ["config.json", "generation_config.json"]  # golden.json is a link to the source's


def main():
    repository = pathlib.Path(sys.argv[1]).resolve()
    source = repository / "tests/fixtures/checkpoints/llama_small"
    folder = repository / "tests/fixtures/formats/deepspeed_universal"
    shutil.rmtree(folder, ignore_errors=True)
    step = folder / "global_step10_universal"
    for name, tensor in safetensors.torch.load_file(source / "model.safetensors").items():
        parameter = step / "zero" / name
        parameter.mkdir(parents=True)
        state = {"param": tensor.clone()}
        if "embed_tokens" in name or "lm_head" in name:
            state["vocab_tensor"] = True
            state["cat_dim"] = 0
        torch.save(state, parameter / "fp32.pt")
        torch.save({"param": torch.zeros(1)}, parameter / "exp_avg.pt")
    torch.save({"dp_world_size": 1, "mp_world_size": 1}, step / "mp_rank_00_model_states.pt")
    (folder / "latest_universal").write_text("global_step10_universal")
    for file in COPIED:
        shutil.copy(source / file, folder / file)
    (folder / "golden.json").symlink_to("../../checkpoints/llama_small/golden.json")


main()
