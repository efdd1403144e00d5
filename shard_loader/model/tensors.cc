#include "shard_loader/model/tensors.h"

namespace tessera::shard_loader {
namespace {

const char* RoleName(TensorRole role) {
  switch (role) {
    case TensorRole::kEmbedding:
      return "embedding";
    case TensorRole::kAttentionNorm:
      return "attention_norm";
    case TensorRole::kQuery:
      return "query";
    case TensorRole::kKey:
      return "key";
    case TensorRole::kValue:
      return "value";
    case TensorRole::kQueryBias:
      return "query_bias";
    case TensorRole::kKeyBias:
      return "key_bias";
    case TensorRole::kValueBias:
      return "value_bias";
    case TensorRole::kQueryNorm:
      return "query_norm";
    case TensorRole::kKeyNorm:
      return "key_norm";
    case TensorRole::kOutput:
      return "output";
    case TensorRole::kOutputBias:
      return "output_bias";
    case TensorRole::kMlpNorm:
      return "mlp_norm";
    case TensorRole::kGate:
      return "gate";
    case TensorRole::kUp:
      return "up";
    case TensorRole::kDown:
      return "down";
    case TensorRole::kGateBias:
      return "gate_bias";
    case TensorRole::kUpBias:
      return "up_bias";
    case TensorRole::kDownBias:
      return "down_bias";
    case TensorRole::kFinalNorm:
      return "final_norm";
    case TensorRole::kHead:
      return "head";
  }
  return "?";
}

}  // namespace

std::vector<TensorRole> LayerRoles(const DecoderSpec& spec) {
  using enum TensorRole;
  std::vector<TensorRole> roles = {kAttentionNorm, kQuery, kKey, kValue};
  const auto add_if = [&roles](bool present, std::initializer_list<TensorRole> more) {
    if (present) roles.insert(roles.end(), more);
  };
  add_if(spec.attention.qkv_bias, {kQueryBias, kKeyBias, kValueBias});
  add_if(spec.attention.qk_norm, {kQueryNorm, kKeyNorm});
  add_if(true, {kOutput});
  add_if(spec.attention.output_bias, {kOutputBias});
  add_if(true, {kMlpNorm, kGate, kUp, kDown});
  add_if(spec.mlp.bias, {kGateBias, kUpBias, kDownBias});
  return roles;
}

std::vector<TensorId> ModelTensors(const DecoderSpec& spec) {
  const std::vector<TensorRole> roles = LayerRoles(spec);
  std::vector<TensorId> ids;
  ids.reserve(static_cast<size_t>(spec.num_layers) * roles.size() + 3);
  ids.push_back({-1, TensorRole::kEmbedding});
  for (int64_t layer = 0; layer < spec.num_layers; ++layer) {
    for (TensorRole role : roles) ids.push_back({layer, role});
  }
  ids.push_back({-1, TensorRole::kFinalNorm});
  if (!spec.tied_embeddings) ids.push_back({-1, TensorRole::kHead});
  return ids;
}

std::vector<int64_t> TensorShape(const DecoderSpec& spec, TensorRole role) {
  const int64_t hidden = spec.hidden_size;
  const int64_t queries = spec.attention.num_heads * spec.attention.head_size;
  const int64_t keys = spec.attention.num_kv_heads * spec.attention.head_size;
  const int64_t columns = spec.mlp.intermediate_size;
  switch (role) {
    case TensorRole::kEmbedding:
    case TensorRole::kHead:
      return {spec.vocab_size, hidden};
    case TensorRole::kAttentionNorm:
    case TensorRole::kOutputBias:
    case TensorRole::kMlpNorm:
    case TensorRole::kDownBias:
    case TensorRole::kFinalNorm:
      return {hidden};
    case TensorRole::kQuery:
      return {queries, hidden};
    case TensorRole::kKey:
    case TensorRole::kValue:
      return {keys, hidden};
    case TensorRole::kQueryBias:
      return {queries};
    case TensorRole::kKeyBias:
    case TensorRole::kValueBias:
      return {keys};
    case TensorRole::kQueryNorm:
    case TensorRole::kKeyNorm:
      return {spec.attention.head_size};
    case TensorRole::kOutput:
      return {hidden, queries};
    case TensorRole::kGate:
    case TensorRole::kUp:
      return {columns, hidden};
    case TensorRole::kDown:
      return {hidden, columns};
    case TensorRole::kGateBias:
    case TensorRole::kUpBias:
      return {columns};
  }
  return {};
}

RoleCut CutOf(const DecoderSpec& spec, TensorRole role) {
  const int64_t head = spec.attention.head_size;
  switch (role) {
    case TensorRole::kEmbedding:
    case TensorRole::kHead:
      return {CutBy::kVocab, 0, 1};
    case TensorRole::kQuery:
    case TensorRole::kQueryBias:
      return {CutBy::kHeads, 0, head};
    case TensorRole::kKey:
    case TensorRole::kValue:
    case TensorRole::kKeyBias:
    case TensorRole::kValueBias:
      return {CutBy::kKvHeads, 0, head};
    case TensorRole::kOutput:
      return {CutBy::kHeads, 1, head};
    case TensorRole::kGate:
    case TensorRole::kUp:
    case TensorRole::kGateBias:
    case TensorRole::kUpBias:
      return {CutBy::kColumns, 0, 1};
    case TensorRole::kDown:
      return {CutBy::kColumns, 1, 1};
    case TensorRole::kAttentionNorm:
    case TensorRole::kQueryNorm:
    case TensorRole::kKeyNorm:
    case TensorRole::kOutputBias:
    case TensorRole::kMlpNorm:
    case TensorRole::kDownBias:
    case TensorRole::kFinalNorm:
      return {};
  }
  return {};
}

int64_t NumElements(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (int64_t size : shape) count *= size;
  return count;
}

int64_t LayerElements(const DecoderSpec& spec) {
  int64_t count = 0;
  for (TensorRole role : LayerRoles(spec)) count += NumElements(TensorShape(spec, role));
  return count;
}

std::string TensorName(TensorId id) {
  const std::string name = RoleName(id.role);
  return id.layer < 0 ? name : "layers." + std::to_string(id.layer) + "." + name;
}

}  // namespace tessera::shard_loader
