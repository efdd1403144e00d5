"""Writes tests/fixtures/formats/{t5x_llama,orbax_llama,orbax_ocdbt_llama} from llama_small, and
orbax_zarr3_llama from families/llama_yarn.

In a venv: pip install jax flax orbax-checkpoint tensorstore safetensors numpy
Usage: python jax_checkpoints.py REPOSITORY

T5X is no package of PyPI: its layout (t5x/checkpoints.py) is written with TensorStore and flax, which T5X
itself writes with. Orbax's are written by Orbax.
"""
import json
import pathlib
import shutil
import sys

import flax.serialization
import jax
import numpy
import orbax.checkpoint
import safetensors.numpy
import tensorstore

COPIED = ["config.json", "generation_config.json"]  # golden.json is a link to the source's


def flax_tree(tensors):
    """Hugging Face's names and shapes as Flax has them."""
    tree = {}
    for name, tensor in sorted(tensors.items()):
        keys = name.split(".")
        if keys[-2] == "embed_tokens":
            keys[-1] = "embedding"
        elif tensor.ndim == 1:
            pass
        else:
            keys[-1], tensor = "kernel", tensor.T
        node = tree
        for key in keys[:-1]:
            node = node.setdefault(key, {})
        node[keys[-1]] = numpy.ascontiguousarray(tensor)
    return tree


def leaves(tree, path=()):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, path + (key,))
        else:
            yield path + (key,), value


def write_t5x(tree, folder):
    state = {"version": 3, "optimizer": {"target": {}, "state": {"step": numpy.int32(10)}}}
    for path, value in leaves(tree):
        name = "target." + ".".join(path)
        # T5X cuts the arrays as the hosts held them.
        chunks = [max(1, size // 2) if i == value.ndim - 1 else size for i, size in enumerate(value.shape)]
        spec = {
            "driver": "zarr",
            "kvstore": {"driver": "file", "path": str(folder / name)},
            "metadata": {"compressor": {"id": "gzip"}, "chunks": chunks, "shape": value.shape,
                         "dtype": value.dtype.str},
            "create": True,
        }
        tensorstore.open(spec).result().write(value).result()
        node = state["optimizer"]["target"]
        for key in path[:-1]:
            node = node.setdefault(key, {})
        node[path[-1]] = "PLACEHOLDER://" + name
    (folder / "checkpoint").write_bytes(flax.serialization.msgpack_serialize(state))


def write_orbax(tree, folder, use_ocdbt=False, use_zarr3=False):
    handler = orbax.checkpoint.PyTreeCheckpointHandler(use_ocdbt=use_ocdbt, use_zarr3=use_zarr3)
    checkpointer = orbax.checkpoint.Checkpointer(handler)
    checkpointer.save(folder / "default", {"params": jax.tree_util.tree_map(jax.numpy.asarray, tree)})
    checkpointer.close()


def rewrite_zarr3(folder, name, change):
    """An array of Orbax's again, by TensorStore, with what Orbax does not write by itself."""
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(folder / "default" / name)}}
    value = tensorstore.open(spec).result().read().result()
    spec["metadata"] = json.loads((folder / "default" / name / "zarr.json").read_text())
    change(spec["metadata"])
    tensorstore.open(spec, create=True, delete_existing=True).result().write(value).result()


def with_small_chunks(metadata):
    """Shards of 3 x 2 chunks each, the last ones past the end of the array."""
    shards = metadata["codecs"][0]["configuration"]
    metadata["chunk_grid"]["configuration"]["chunk_shape"] = [24, 80]
    shards.update(chunk_shape=[8, 40], index_location="start")
    shards["codecs"] = [{"name": "bytes", "configuration": {"endian": "little"}},
                        {"name": "gzip", "configuration": {"level": 5}}, {"name": "crc32c"}]


def with_turned_chunks(metadata):
    metadata["chunk_grid"]["configuration"]["chunk_shape"] = [50, 20]
    metadata["chunk_key_encoding"] = {"name": "v2"}
    metadata["codecs"] = [{"name": "transpose", "configuration": {"order": [1, 0]}},
                          {"name": "bytes", "configuration": {"endian": "little"}}]


def write_zarr3(repository):
    source = repository / "tests/fixtures/families/llama_yarn"
    folder = repository / "tests/fixtures/formats/orbax_zarr3_llama"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(source / "config.json", folder / "config.json")
    (folder / "golden.json").symlink_to("../../families/llama_yarn/golden.json")
    write_orbax(flax_tree(safetensors.numpy.load_file(source / "model.safetensors")), folder, use_zarr3=True)
    rewrite_zarr3(folder, "params.lm_head.kernel", with_small_chunks)
    rewrite_zarr3(folder, "params.model.embed_tokens.embedding", with_turned_chunks)


def main():
    repository = pathlib.Path(sys.argv[1]).resolve()
    source = repository / "tests/fixtures/checkpoints/llama_small"
    tree = flax_tree(safetensors.numpy.load_file(source / "model.safetensors"))
    for name in ["t5x_llama", "orbax_llama", "orbax_ocdbt_llama"]:
        folder = repository / "tests/fixtures/formats" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for file in COPIED:
            shutil.copy(source / file, folder / file)
        (folder / "golden.json").symlink_to("../../checkpoints/llama_small/golden.json")
        if name == "t5x_llama":
            write_t5x(tree, folder)
        else:
            write_orbax(tree, folder, use_ocdbt=name == "orbax_ocdbt_llama")
    write_zarr3(repository)


main()
