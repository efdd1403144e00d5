// Qwen 1.5 and 2 with experts: shared ones with a gate of their own; transformers' Qwen2MoeConfig.
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  CommonDefaults defaults;
  defaults.context_length = 32768;
  ReadCommon(config, defaults, spec);
  spec.attention.qkv_bias = config.Bool("qkv_bias", true);
  ReadQwenWindows(config, spec);
  ReadMoe(config, {.experts_per_token = 4}, spec);
  spec.moe.shared_columns = config.Integer("shared_expert_intermediate_size", kColumnBounds);
  spec.moe.shared_gate = true;
}

const std::vector<NamePattern>& Names() {
  static const auto& names = *new std::vector<NamePattern>(
      Renamed(Renamed(LlamaNames(), MlpExpertNames()),
              {
                  {TensorRole::kSharedGate, "model.layers.{}.mlp.shared_expert.gate_proj.weight"},
                  {TensorRole::kSharedUp, "model.layers.{}.mlp.shared_expert.up_proj.weight"},
                  {TensorRole::kSharedDown, "model.layers.{}.mlp.shared_expert.down_proj.weight"},
                  {TensorRole::kSharedExpertGate, "model.layers.{}.mlp.shared_expert_gate.weight"},
              }));
  return names;
}

}  // namespace

const Family& Qwen2MoeFamily() {
  static const auto& family = *new Family{
      "qwen2_moe",
      {"Qwen2MoeForCausalLM"},
      Parse,
      Names,
      "Qwen1.5-MoE, Qwen2 57B-A14B: q, k, v biases, softmax routing, gated shared expert, "
      "dense layers by step or list"};
  return family;
}

}  // namespace tessera::shard_loader
