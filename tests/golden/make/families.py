#!/usr/bin/env python3
"""Makes small checkpoints and what transformers answers for them: tests/fixtures/families.

Needs torch and transformers 4.57 in an environment of their own:
    python3 -m venv ENV && ENV/bin/pip install torch 'transformers==4.57.6' safetensors
    ENV/bin/python tests/golden/make/families.py tests/fixtures/families [NAME...]

Weights are random, stored in bfloat16; answers are those of float32 arithmetic on the same numbers,
by eager attention (but where it is wrong) over the whole sequence at every step. A seed is taken under which the best
logit leads by more than 0.02 at every greedy step, so that float32 arithmetic has one answer.
"""

import json
import pathlib
import sys

import torch
import transformers

VOCAB = 96
STEPS = 12
LENGTHS = {"one": 1, "short": 7, "long": 45}
BASE = dict(vocab_size=VOCAB, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
            intermediate_size=48, max_position_embeddings=128)
GQA = dict(BASE, num_key_value_heads=2)
MOE = dict(GQA, num_experts_per_tok=2)
GPT2 = dict(vocab_size=VOCAB, n_embd=32, n_layer=2, n_head=4, n_positions=128)
GPTJ = dict(GPT2, rotary_dim=4)
SPREAD = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}

# name: (class without "Config" and "ForCausalLM", configuration)
MODELS = {
    "llama_yarn": ("Llama", dict(GQA, rope_scaling=SPREAD)),
    "gemma": ("Gemma", dict(GQA, head_dim=16)),
    "gemma2": ("Gemma2", dict(GQA, head_dim=16, sliding_window=10, query_pre_attn_scalar=12,
                              attn_logit_softcapping=3.0, final_logit_softcapping=8.0)),
    "gemma3_text": ("Gemma3", dict(GQA, head_dim=16, sliding_window=10, sliding_window_pattern=2,
                                   query_pre_attn_scalar=12, rope_local_base_freq=5000.0,
                                   rope_scaling={"rope_type": "linear", "factor": 2.0})),
    "phi": ("Phi", dict(BASE, partial_rotary_factor=0.5)),
    "phi_qk_norm": ("Phi", dict(GQA, partial_rotary_factor=0.5, qk_layernorm=True)),
    "qwen2_moe": ("Qwen2Moe", dict(MOE, num_hidden_layers=3, num_experts=6, num_experts_per_tok=3,
                                   moe_intermediate_size=24, shared_expert_intermediate_size=40,
                                   decoder_sparse_step=2, norm_topk_prob=False)),
    "qwen3_moe": ("Qwen3Moe", dict(MOE, head_dim=16, num_experts=20, moe_intermediate_size=16,
                                   norm_topk_prob=True, mlp_only_layers=[0])),
    "falcon_rw": ("Falcon", dict(vocab_size=VOCAB, hidden_size=32, num_hidden_layers=2,
                                 num_attention_heads=4, alibi=True, multi_query=False,
                                 parallel_attn=False, bias=True, new_decoder_architecture=False)),
    "falcon_7b": ("Falcon", dict(vocab_size=VOCAB, hidden_size=32, num_hidden_layers=2,
                                 num_attention_heads=4, multi_query=True, parallel_attn=True,
                                 bias=False, new_decoder_architecture=False)),
    "falcon_11b": ("Falcon", dict(vocab_size=VOCAB, hidden_size=32, num_hidden_layers=2,
                                  num_attention_heads=4, num_kv_heads=2, num_ln_in_parallel_attn=1,
                                  new_decoder_architecture=True)),
    "gpt_bigcode": ("GPTBigCode", dict(GPT2, activation_function="gelu_pytorch_tanh")),
    "gpt_bigcode_mha": ("GPTBigCode", dict(GPT2, multi_query=False)),
    "gpt_neox": ("GPTNeoX", dict(BASE, rotary_pct=0.5)),
    "gpt_neox_sequential": ("GPTNeoX", dict(BASE, rotary_pct=0.25, use_parallel_residual=False)),
    "gptj": ("GPTJ", GPTJ),
    "codegen": ("CodeGen", GPTJ),
    "olmo": ("Olmo", GQA),
    "olmo2": ("Olmo2", GQA),
    "olmo3": ("Olmo3", dict(GQA, num_hidden_layers=4, sliding_window=10, rope_scaling=SPREAD)),
    "olmoe": ("Olmoe", dict(MOE, num_experts=16, num_experts_per_tok=4, norm_topk_prob=False,
                            intermediate_size=16)),
    "glm": ("Glm", dict(GQA, head_dim=8, partial_rotary_factor=0.5, pad_token_id=0)),
    "glm4": ("Glm4", dict(GQA, head_dim=8, partial_rotary_factor=0.5, pad_token_id=0,
                          attention_bias=True)),
    "glm4_moe": ("Glm4Moe", dict(MOE, head_dim=8, n_routed_experts=16, moe_intermediate_size=16,
                                 first_k_dense_replace=1, n_group=4, topk_group=2,
                                 num_experts_per_tok=3, n_shared_experts=2, use_qk_norm=True,
                                 routed_scaling_factor=1.5, norm_topk_prob=True,
                                 attention_bias=True)),
    "cohere_palm": ("Cohere", dict(BASE, num_key_value_heads=1, logit_scale=1.0)),
    "cohere_qk_norm": ("Cohere", dict(GQA, use_qk_norm=True, logit_scale=1.0)),
    "cohere2": ("Cohere2", dict(GQA, num_hidden_layers=4, sliding_window=10, logit_scale=1.0,
                                sliding_window_pattern=4)),
    "ernie4_5": ("Ernie4_5", dict(GQA, head_dim=8, use_bias=True)),
    "exaone4": ("Exaone4", dict(GQA, num_hidden_layers=4, sliding_window=10,
                                sliding_window_pattern=4)),
    "granite": ("Granite", dict(GQA, embedding_multiplier=3.0, residual_multiplier=0.7,
                                attention_multiplier=0.4, logits_scaling=0.5)),
    "granitemoe": ("GraniteMoe", dict(MOE, num_local_experts=8, embedding_multiplier=3.0,
                                      residual_multiplier=0.7, attention_multiplier=0.4,
                                      logits_scaling=0.5)),
    "nemotron": ("Nemotron", dict(GQA, head_dim=8, partial_rotary_factor=0.5)),
    "opt": ("OPT", dict(BASE, ffn_dim=48, word_embed_proj_dim=32)),
    "opt_post_norm": ("OPT", dict(BASE, ffn_dim=48, word_embed_proj_dim=16,
                                  do_layer_norm_before=False)),
    "phi3": ("Phi3", dict(GQA, sliding_window=10, pad_token_id=0)),
    "phi3_longrope": ("Phi3", dict(GQA, original_max_position_embeddings=32, pad_token_id=0,
                                   rope_scaling={"type": "longrope",
                                                 "short_factor": [1.0, 1.1, 1.2, 1.3],
                                                 "long_factor": [1.0, 2.0, 3.5, 5.0]})),
    "seed_oss": ("SeedOss", dict(GQA, head_dim=8)),
    "smollm3": ("SmolLM3", dict(GQA, num_hidden_layers=4, pad_token_id=0)),
    "stablelm": ("StableLm", GQA),
    "stablelm_12b": ("StableLm", dict(GQA, use_parallel_residual=True, qk_layernorm=True)),
    "mistral_nemo": ("Mistral", dict(GQA, head_dim=16, sliding_window=None)),
    "deepseek_v2": ("DeepseekV2", dict(BASE, num_key_value_heads=4, n_routed_experts=8,
                                       n_shared_experts=1, moe_intermediate_size=16,
                                       first_k_dense_replace=1, q_lora_rank=24, kv_lora_rank=16,
                                       qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=4,
                                       topk_method="group_limited_greedy", n_group=4, topk_group=2,
                                       num_experts_per_tok=2, routed_scaling_factor=2.0)),
}
# Answers at these lengths depend on the context of the deployment: only prompts beyond the first
# training's context are asked, and every forward pass takes the long factors.
LONG_ONLY = {"phi3_longrope"}
# Falcon's eager attention adds ALiBi's slopes twice.
NOT_EAGER = {"falcon_rw"}


def make_weights(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() == 1 or "layernorm" in name:
            centre = 0.0 if name.endswith("bias") or "Gemma" in type(model).__name__ else 1.0
            value = centre + 0.25 * noise
        elif "embed" in name or "wte" in name or "wpe" in name:
            value = noise * (0.3 if "wpe" in name or "position" in name else 1.0)
        else:
            value = noise * 1.6 * parameter.shape[-1] ** -0.5
        parameter.data = value.to(torch.bfloat16).float()
    for name, buffer in model.named_buffers():
        if "e_score_correction_bias" in name:
            buffer.data = (0.3 * torch.randn(buffer.shape, generator=generator)).bfloat16().float()


def logits_of(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids]), use_cache=False).logits[0].float()


def top5(logprobs):
    values, ids = torch.topk(logprobs, 5, dim=-1)
    return ids.tolist(), numbers(values)


def numbers(tensor):
    return [[float(f"{x:.9g}") for x in row] for row in tensor.tolist()] if tensor.dim() == 2 else [
        float(f"{x:.9g}") for x in tensor.tolist()]


def greedy(model, prompt):
    ids, found = list(prompt), {"tokens": [], "gaps": [], "logprobs": [], "top5_ids": [],
                                "top5_logprobs": []}
    for _ in range(STEPS):
        last = logits_of(model, ids)[-1]
        best = torch.topk(last, 2)
        logprobs = torch.log_softmax(last, -1)
        token = int(best.indices[0])
        found["tokens"].append(token)
        found["gaps"].append(float(best.values[0] - best.values[1]))
        found["logprobs"].append(float(f"{logprobs[token]:.9g}"))
        top_ids, top_values = top5(logprobs)
        found["top5_ids"].append(top_ids)
        found["top5_logprobs"].append(top_values)
        ids.append(token)
    found["gaps"] = numbers(torch.tensor(found["gaps"]))
    return found


def sequence_of(model, name, prompt):
    logits = logits_of(model, prompt)
    logprobs = torch.log_softmax(logits, -1)
    best = torch.topk(logits, 2, dim=-1)
    ids, values = top5(logprobs)
    chosen = [float(f"{logprobs[i, prompt[i + 1]]:.9g}") for i in range(len(prompt) - 1)]
    return {"prompt": name, "argmax": best.indices[:, 0].tolist(),
            "argmax_gaps": numbers(best.values[:, 0] - best.values[:, 1]), "top5_ids": ids,
            "top5_logprobs": values, "token_logprobs": [None] + chosen}


def answers(model, name, seed):
    generator = torch.Generator().manual_seed(1000 + seed)
    prompts, least = [], 1e9
    for key, length in LENGTHS.items():
        if name in LONG_ONLY:
            length = 40 + length
        ids = torch.randint(3, VOCAB, (length,), generator=generator).tolist()
        found = greedy(model, ids)
        least = min(least, *found["gaps"])
        if least <= 0.02:
            return None
        last = torch.log_softmax(logits_of(model, ids)[-1], -1)
        prompts.append({"name": key, "input_ids": ids, "last_logprobs": numbers(last),
                        "greedy": found})
    golden = {"format": 1, "name": name, "vocab_size": VOCAB, "seed": seed,
              "numerics": {"reference": f"transformers {transformers.__version__}, torch "
                                        f"{torch.__version__.split('+')[0]}",
                           "stored_dtype": "bfloat16", "compute_dtype": "float32",
                           "attention": "sdpa" if name in NOT_EAGER else "eager"},
              "tolerance": {"logprobs_atol": 0.001}, "min_greedy_gap": least, "prompts": prompts}
    if name not in LONG_ONLY:
        golden["sequence"] = sequence_of(model, "long", prompts[-1]["input_ids"])
    return golden


def make(name, folder):
    base, fields = MODELS[name]
    text = "Text" if base == "Gemma3" else ""
    config = getattr(transformers, base + text + "Config")(
        **fields, bos_token_id=1, eos_token_id=2,
        attn_implementation="sdpa" if name in NOT_EAGER else "eager")
    with transformers.modeling_utils.no_init_weights():
        model = getattr(transformers, base + "ForCausalLM")(config).eval().float()
    for buffer_name, buffer in model.named_buffers():
        if "inv_freq" not in buffer_name and buffer.is_floating_point():
            buffer.zero_()
    for seed in range(1, 200):
        make_weights(model, seed)
        model.tie_weights()
        golden = answers(model, name, seed)
        if golden:
            break
    else:
        sys.exit(f"{name}: no seed has clear answers")
    golden["model_type"] = config.model_type
    model.to(torch.bfloat16).save_pretrained(folder / name)
    (folder / name / "generation_config.json").unlink(missing_ok=True)
    with open(folder / name / "golden.json", "w", encoding="utf-8") as file:
        json.dump(golden, file)
    print(name, "seed", seed, "gap", round(golden["min_greedy_gap"], 3), flush=True)


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for name in sys.argv[2:] or MODELS:
        make(name, folder)


if __name__ == "__main__":
    main()
