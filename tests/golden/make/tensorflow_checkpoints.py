"""Writes tests/fixtures/formats/{tensorflow_llama,tensorflow_gpt2} with TensorFlow's own writer.

In a venv: pip install tensorflow-cpu safetensors numpy
Usage: python tensorflow_checkpoints.py REPOSITORY

tensorflow_llama: tf.train.Checkpoint over a tree of modules as Hugging Face's TensorFlow models have it (attributes as
keys, dense kernels [in, out]), in two data files. tensorflow_gpt2: the names and shapes of the first GPT-2
(github.com/openai/gpt-2: src/model.py; kernels with a leading dimension of 1) by tf.compat.v1.train.Saver, hparams.json
instead of config.json; its values are those of the fixture tf_h5_gpt2.
"""
import json
import pathlib
import shutil
import sys

import numpy
import safetensors.numpy
import tensorflow as tf

COPIED = ["config.json", "generation_config.json"]  # golden.json is a link to the source's


def llama(repository):
    source = repository / "tests/fixtures/checkpoints/llama_small"
    folder = repository / "tests/fixtures/formats/tensorflow_llama"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    root = tf.train.Checkpoint()
    for name, tensor in safetensors.numpy.load_file(source / "model.safetensors").items():
        keys = name.split(".")
        if keys[-2] == "embed_tokens":
            keys[-1] = "embeddings"
        elif tensor.ndim == 2:
            keys[-1], tensor = "kernel", tensor.T
        node = root
        for at, key in enumerate(keys[:-1]):
            if not hasattr(node, key):
                setattr(node, key, tf.train.Checkpoint())
            node = getattr(node, key)
        setattr(node, keys[-1], tf.Variable(numpy.ascontiguousarray(tensor)))
    root.write(str(folder / "tf_model"))
    for file in COPIED:
        shutil.copy(source / file, folder / file)
    (folder / "golden.json").symlink_to("../../checkpoints/llama_small/golden.json")


def gpt2(repository):
    source = repository / "tests/fixtures/formats/tf_h5_gpt2"
    folder = repository / "tests/fixtures/formats/tensorflow_gpt2"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    import h5py

    names = {"c_attn": "attn/c_attn", "c_fc": "mlp/c_fc"}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = []

        def add(path, dataset):
            if not isinstance(dataset, h5py.Dataset):
                return
            keys = path.split("/")[3:]
            layer = ""
            if keys[0].startswith("h_._"):
                layer, keys = "h" + keys[0][4:] + "/", keys[1:]
            leaf = keys[-1].split(":")[0]
            value = dataset[()]
            if keys[0] in ("wte", "wpe"):
                name = keys[0]
            elif leaf in ("gamma", "beta"):
                name = keys[0] + ("/g" if leaf == "gamma" else "/b")
            else:
                name = "/".join(keys[:-1]) + ("/w" if leaf == "weight" else "/b")
                value = value[None] if leaf == "weight" else value.reshape(-1)
            variables.append(tf.compat.v1.get_variable(f"model/{layer}{name}", initializer=value))

        with h5py.File(source / "tf_model.h5") as file:
            file.visititems(add)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver(variables).save(session, str(folder / "model.ckpt"), write_meta_graph=False)
    config = json.loads((source / "config.json").read_text())
    hparams = {"n_vocab": config["vocab_size"], "n_ctx": config["n_positions"], "n_embd": config["n_embd"],
               "n_head": config["n_head"], "n_layer": config["n_layer"]}
    (folder / "hparams.json").write_text(json.dumps(hparams))
    shutil.copy(source / "generation_config.json", folder / "generation_config.json")
    (folder / "golden.json").symlink_to("../tf_h5_gpt2/golden.json")


def main():
    repository = pathlib.Path(sys.argv[1]).resolve()
    llama(repository)
    gpt2(repository)


main()
