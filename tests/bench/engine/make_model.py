"""Models with random weights in real shapes, for benches: a Hugging Face folder with the bundled
model's tokenizer. Standard library only."""
import json
import pathlib
import random
import shutil
import struct

SHAPES = {
    # Qwen2.5-0.5B
    "half_billion": dict(hidden=896, layers=24, heads=14, kv_heads=2, head=64, ffn=4864, vocab=151936, context=4096),
    "tiny": dict(hidden=128, layers=8, heads=8, kv_heads=8, head=16, ffn=256, vocab=2048, context=4096),
}
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
# Random bytes are made once and repeated: their number is odd, so that no two rows are alike.
PATTERN = (1 << 20) + 1


def config(shape: dict) -> dict:
    return {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": shape["hidden"],
            "num_hidden_layers": shape["layers"], "num_attention_heads": shape["heads"],
            "num_key_value_heads": shape["kv_heads"], "intermediate_size": shape["ffn"],
            "vocab_size": shape["vocab"], "max_position_embeddings": shape["context"], "rms_norm_eps": 1e-6,
            "rope_theta": 1000000.0, "hidden_act": "silu", "tie_word_embeddings": True, "torch_dtype": "bfloat16",
            "bos_token_id": 0, "eos_token_id": 2, "use_sliding_window": False}


def tensors(shape: dict) -> list:
    """(name, shape, whether it is a norm) of every weight."""
    hidden, head = shape["hidden"], shape["head"]
    query, key = shape["heads"] * head, shape["kv_heads"] * head
    out = [("model.embed_tokens.weight", [shape["vocab"], hidden], False)]
    for layer in range(shape["layers"]):
        name = f"model.layers.{layer}."
        out += [(name + "input_layernorm.weight", [hidden], True),
                (name + "post_attention_layernorm.weight", [hidden], True)]
        for part, rows in (("q", query), ("k", key), ("v", key)):
            out += [(f"{name}self_attn.{part}_proj.weight", [rows, hidden], False),
                    (f"{name}self_attn.{part}_proj.bias", [rows], False)]
        out += [(name + "self_attn.o_proj.weight", [hidden, query], False),
                (name + "mlp.gate_proj.weight", [shape["ffn"], hidden], False),
                (name + "mlp.up_proj.weight", [shape["ffn"], hidden], False),
                (name + "mlp.down_proj.weight", [hidden, shape["ffn"]], False)]
    return out + [("model.norm.weight", [hidden], True)]


def random_bf16(seed: int) -> bytes:
    """Numbers of 1/128 to 1/32 with either sign: about as wide as those of a fresh model."""
    low = random.Random(seed).randbytes(PATTERN)
    high = random.Random(seed + 1).randbytes(PATTERN).translate(
        bytes(0x3C if byte % 2 else 0xBC for byte in range(256)))
    pattern = bytearray(2 * PATTERN)
    pattern[0::2] = low
    pattern[1::2] = high
    return bytes(pattern)


def write_weights(path: pathlib.Path, shape: dict, seed: int) -> None:
    header, offset = {}, 0
    for name, dims, _ in tensors(shape):
        size = 2 * dims[0] * (dims[1] if len(dims) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": dims, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    pattern = random_bf16(seed)
    position = 0
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, dims, norm in tensors(shape):
            begin, end = header[name]["data_offsets"]
            if norm:
                file.write(b"\x80\x3f" * ((end - begin) // 2))
                continue
            left = end - begin
            while left:
                part = pattern[position:position + left]
                file.write(part)
                left -= len(part)
                position = (position + len(part)) % len(pattern)


def make(folder: pathlib.Path, shape_name: str, tokenizer: pathlib.Path, weights: bool = True, seed: int = 1,
         **changes) -> pathlib.Path:
    """`tokenizer` is the folder to copy it from; without weights only --device sim can serve it."""
    shape = {**SHAPES[shape_name], **changes}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config(shape), indent=1))
    for name in TOKENIZER:
        shutil.copy(tokenizer / name, folder / name)
    if weights:
        write_weights(folder / "model.safetensors", shape, seed)
    return folder
