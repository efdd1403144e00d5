#include "shard_loader/model/tensors.h"

#include <iterator>

namespace tessera::shard_loader {
namespace {

// In the order of TensorRole.
constexpr const char* kRoleNames[] = {
    "embedding",
    "embedding_project",
    "position_embedding",
    "embedding_norm",
    "embedding_norm_bias",
    "attention_norm",
    "attention_norm_bias",
    "query_down",
    "query_down_norm",
    "latent_down",
    "latent_norm",
    "key_rope",
    "query",
    "key",
    "value",
    "query_bias",
    "key_bias",
    "value_bias",
    "query_norm",
    "key_norm",
    "query_norm_bias",
    "key_norm_bias",
    "sinks",
    "output",
    "output_bias",
    "post_attention_norm",
    "mlp_norm",
    "mlp_norm_bias",
    "gate",
    "up",
    "down",
    "gate_bias",
    "up_bias",
    "down_bias",
    "router",
    "router_bias",
    "router_correction",
    "expert_down_bias",
    "expert_gate",
    "expert_up",
    "expert_down",
    "expert_gate_bias",
    "expert_up_bias",
    "shared_gate",
    "shared_up",
    "shared_down",
    "shared_expert_gate",
    "post_mlp_norm",
    "final_norm",
    "final_norm_bias",
    "head_project",
    "head",
    "head_bias",
};
static_assert(std::size(kRoleNames) == static_cast<size_t>(TensorRole::kHeadBias) + 1);

// Collects ids of one layer, or of none.
struct Ids {
  int64_t layer = -1;
  std::vector<TensorId> ids;

  void AddIf(bool present, std::initializer_list<TensorRole> roles) {
    if (!present) return;
    for (TensorRole role : roles) ids.push_back({layer, role});
  }
  void AddNorm(const NormSpec& norm, bool present, TensorRole weight, TensorRole bias) {
    AddIf(present && norm.weight, {weight});
    AddIf(present && norm.bias, {bias});
  }
};

void AddAttention(const DecoderSpec& spec, Ids& ids) {
  using enum TensorRole;
  const AttentionSpec& attention = spec.attention;
  const bool latent = attention.latent.kv_rank > 0;
  ids.AddIf(attention.latent.query_rank > 0, {kQueryDown, kQueryDownNorm});
  ids.AddIf(latent, {kLatentDown, kLatentNorm, kKeyRope});
  ids.AddIf(true, {kQuery, kKey, kValue});
  ids.AddIf(attention.qkv_bias, {kQueryBias, kKeyBias, kValueBias});
  ids.AddIf(attention.qk_norm != QkNorm::kNone, {kQueryNorm, kKeyNorm});
  ids.AddIf(attention.qk_norm_bias, {kQueryNormBias, kKeyNormBias});
  ids.AddIf(attention.sinks, {kSinks});
  ids.AddIf(true, {kOutput});
  ids.AddIf(attention.output_bias, {kOutputBias});
  ids.AddIf(spec.post_norm, {kPostAttentionNorm});
}

void AddExperts(const MoeSpec& moe, Ids& ids) {
  using enum TensorRole;
  ids.AddIf(true, {kRouter});
  ids.AddIf(moe.router_bias, {kRouterBias});
  ids.AddIf(moe.correction_bias, {kRouterCorrection});
  ids.AddIf(moe.bias, {kExpertDownBias});
  for (int64_t expert = 0; expert < moe.num_experts; ++expert) {
    for (TensorRole role : {kExpertGate, kExpertUp, kExpertDown, kExpertGateBias, kExpertUpBias}) {
      const bool is_bias = role == kExpertGateBias || role == kExpertUpBias;
      if (!is_bias || moe.bias) ids.ids.push_back({ids.layer, role, expert});
    }
  }
  ids.AddIf(moe.shared_columns > 0, {kSharedGate, kSharedUp, kSharedDown});
  ids.AddIf(moe.shared_gate, {kSharedExpertGate});
}

void AddMlp(const DecoderSpec& spec, Ids& ids) {
  using enum TensorRole;
  const bool own_norm = spec.pre_norm && spec.residual != Residual::kParallelOneNorm;
  ids.AddNorm(spec.norm, own_norm || spec.residual_norm, kMlpNorm, kMlpNormBias);
  if (spec.IsMoe(ids.layer)) {
    AddExperts(spec.moe, ids);
  } else {
    ids.AddIf(spec.mlp.gated, {kGate});
    ids.AddIf(true, {kUp, kDown});
    ids.AddIf(spec.mlp.bias && spec.mlp.gated, {kGateBias});
    ids.AddIf(spec.mlp.bias, {kUpBias, kDownBias});
  }
  ids.AddIf(spec.post_norm, {kPostMlpNorm});
}

std::vector<int64_t> AttentionShape(const DecoderSpec& spec, TensorRole role) {
  const AttentionSpec& attention = spec.attention;
  const LatentSpec& latent = attention.latent;
  const bool is_latent = latent.kv_rank > 0;
  const int64_t queries = attention.num_heads * attention.head_size;
  const int64_t keys = attention.num_kv_heads * attention.head_size;
  const int64_t values = attention.num_kv_heads * attention.values();
  const bool whole_norm =
      attention.qk_norm == QkNorm::kOwnPerHead || attention.qk_norm == QkNorm::kAllHeads;
  switch (role) {
    case TensorRole::kQueryDown:
      return {latent.query_rank, spec.hidden_size};
    case TensorRole::kQueryDownNorm:
      return {latent.query_rank};
    case TensorRole::kLatentDown:
      return {latent.kv_rank, spec.hidden_size};
    case TensorRole::kLatentNorm:
      return {latent.kv_rank};
    case TensorRole::kKeyRope:
      return {attention.rotary(), spec.hidden_size};
    case TensorRole::kQuery:
      return {queries, latent.query_rank > 0 ? latent.query_rank : spec.hidden_size};
    case TensorRole::kKey:
      if (is_latent) return {keys - attention.num_kv_heads * attention.rotary(), latent.kv_rank};
      return {keys, spec.hidden_size};
    case TensorRole::kValue:
      return {values, is_latent ? latent.kv_rank : spec.hidden_size};
    case TensorRole::kQueryBias:
      return {queries};
    case TensorRole::kKeyBias:
      return {keys};
    case TensorRole::kValueBias:
      return {values};
    case TensorRole::kQueryNorm:
      return {whole_norm ? queries : attention.head_size};
    case TensorRole::kKeyNorm:
      return {whole_norm ? keys : attention.head_size};
    case TensorRole::kQueryNormBias:
    case TensorRole::kKeyNormBias:
      return {attention.head_size};
    case TensorRole::kSinks:
      return {attention.num_heads};
    case TensorRole::kOutput:
      return {spec.hidden_size, attention.num_heads * attention.values()};
    default:
      return {spec.hidden_size};
  }
}

std::vector<int64_t> MlpShape(const DecoderSpec& spec, TensorRole role) {
  const MoeSpec& moe = spec.moe;
  switch (role) {
    case TensorRole::kGate:
    case TensorRole::kUp:
      return {spec.mlp.intermediate_size, spec.hidden_size};
    case TensorRole::kDown:
      return {spec.hidden_size, spec.mlp.intermediate_size};
    case TensorRole::kGateBias:
    case TensorRole::kUpBias:
      return {spec.mlp.intermediate_size};
    case TensorRole::kRouter:
      return {moe.num_experts, spec.hidden_size};
    case TensorRole::kRouterBias:
    case TensorRole::kRouterCorrection:
      return {moe.num_experts};
    case TensorRole::kExpertDownBias:
      return {moe.num_experts * spec.hidden_size};
    case TensorRole::kExpertGate:
    case TensorRole::kExpertUp:
      return {moe.intermediate_size, spec.hidden_size};
    case TensorRole::kExpertDown:
      return {spec.hidden_size, moe.intermediate_size};
    case TensorRole::kExpertGateBias:
    case TensorRole::kExpertUpBias:
      return {moe.intermediate_size};
    case TensorRole::kSharedGate:
    case TensorRole::kSharedUp:
      return {moe.shared_columns, spec.hidden_size};
    case TensorRole::kSharedDown:
      return {spec.hidden_size, moe.shared_columns};
    case TensorRole::kSharedExpertGate:
      return {1, spec.hidden_size};
    default:
      return {spec.hidden_size};
  }
}

}  // namespace

std::vector<TensorId> LayerTensors(const DecoderSpec& spec, int64_t layer) {
  Ids ids{.layer = layer};
  ids.AddNorm(spec.norm, spec.pre_norm || spec.residual_norm, TensorRole::kAttentionNorm,
              TensorRole::kAttentionNormBias);
  AddAttention(spec, ids);
  AddMlp(spec, ids);
  return ids.ids;
}

std::vector<TensorId> FrontTensors(const DecoderSpec& spec) {
  Ids ids;
  ids.AddIf(true, {TensorRole::kEmbedding});
  ids.AddIf(spec.embedding_size > 0, {TensorRole::kEmbeddingProject});
  ids.AddIf(spec.num_position_rows > 0, {TensorRole::kPositionEmbedding});
  ids.AddNorm(spec.norm, spec.embedding_norm, TensorRole::kEmbeddingNorm,
              TensorRole::kEmbeddingNormBias);
  return ids.ids;
}

std::vector<TensorId> BackTensors(const DecoderSpec& spec) {
  Ids ids;
  ids.AddNorm(spec.norm, spec.final_norm, TensorRole::kFinalNorm, TensorRole::kFinalNormBias);
  ids.AddIf(spec.embedding_size > 0, {TensorRole::kHeadProject});
  ids.AddIf(!spec.tied_embeddings, {TensorRole::kHead});
  ids.AddIf(spec.head_bias, {TensorRole::kHeadBias});
  return ids.ids;
}

std::vector<TensorId> ModelTensors(const DecoderSpec& spec) {
  std::vector<TensorId> ids = FrontTensors(spec);
  const auto append = [&ids](const std::vector<TensorId>& more) {
    ids.insert(ids.end(), more.begin(), more.end());
  };
  for (int64_t layer = 0; layer < spec.num_layers; ++layer) append(LayerTensors(spec, layer));
  append(BackTensors(spec));
  return ids;
}

std::vector<int64_t> TensorShape(const DecoderSpec& spec, TensorRole role) {
  if (role >= TensorRole::kQueryDown && role <= TensorRole::kOutput) {
    return AttentionShape(spec, role);
  }
  if (role >= TensorRole::kGate && role <= TensorRole::kSharedExpertGate) {
    return MlpShape(spec, role);
  }
  switch (role) {
    case TensorRole::kEmbedding:
    case TensorRole::kHead:
      return {spec.vocab_size, spec.embedding()};
    case TensorRole::kEmbeddingProject:
      return {spec.hidden_size, spec.embedding()};
    case TensorRole::kHeadProject:
      return {spec.embedding(), spec.hidden_size};
    case TensorRole::kPositionEmbedding:
      return {spec.num_position_rows, spec.hidden_size};
    case TensorRole::kHeadBias:
      return {spec.vocab_size};
    default:
      return {spec.hidden_size};
  }
}

bool IsNormWeight(TensorRole role) {
  switch (role) {
    case TensorRole::kEmbeddingNorm:
    case TensorRole::kAttentionNorm:
    case TensorRole::kQueryNorm:
    case TensorRole::kKeyNorm:
    case TensorRole::kPostAttentionNorm:
    case TensorRole::kMlpNorm:
    case TensorRole::kPostMlpNorm:
    case TensorRole::kFinalNorm:
      return true;
    default:
      return false;
  }
}

RoleCut CutOf(const DecoderSpec& spec, TensorRole role) {
  const AttentionSpec& attention = spec.attention;
  const int64_t head = attention.head_size;
  const int64_t values = attention.values();
  const bool whole_norm =
      attention.qk_norm == QkNorm::kOwnPerHead || attention.qk_norm == QkNorm::kAllHeads;
  switch (role) {
    case TensorRole::kEmbedding:
    case TensorRole::kHead:
    case TensorRole::kHeadBias:
      return {CutBy::kVocab, 0, 1};
    case TensorRole::kQuery:
    case TensorRole::kQueryBias:
      return {CutBy::kHeads, 0, head};
    case TensorRole::kKey:
      return {CutBy::kKvHeads, 0, attention.latent.kv_rank > 0 ? head - attention.rotary() : head};
    case TensorRole::kKeyBias:
      return {CutBy::kKvHeads, 0, head};
    case TensorRole::kValue:
    case TensorRole::kValueBias:
      return {CutBy::kKvHeads, 0, values};
    case TensorRole::kQueryNorm:
      return whole_norm ? RoleCut{CutBy::kHeads, 0, head} : RoleCut{};
    case TensorRole::kKeyNorm:
      return whole_norm ? RoleCut{CutBy::kKvHeads, 0, head} : RoleCut{};
    case TensorRole::kSinks:
      return {CutBy::kHeads, 0, 1};
    case TensorRole::kOutput:
      return {CutBy::kHeads, 1, values};
    case TensorRole::kGate:
    case TensorRole::kUp:
    case TensorRole::kGateBias:
    case TensorRole::kUpBias:
      return {CutBy::kColumns, 0, 1};
    case TensorRole::kDown:
      return {CutBy::kColumns, 1, 1};
    case TensorRole::kExpertGate:
    case TensorRole::kExpertUp:
    case TensorRole::kExpertGateBias:
    case TensorRole::kExpertUpBias:
      return {CutBy::kExpertColumns, 0, 1};
    case TensorRole::kExpertDown:
      return {CutBy::kExpertColumns, 1, 1};
    case TensorRole::kSharedGate:
    case TensorRole::kSharedUp:
      return {CutBy::kSharedColumns, 0, 1};
    case TensorRole::kSharedDown:
      return {CutBy::kSharedColumns, 1, 1};
    default:
      return {};
  }
}

int64_t NumElements(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (int64_t size : shape) count *= size;
  return count;
}

int64_t LayerElements(const DecoderSpec& spec, int64_t layer) {
  int64_t count = 0;
  for (TensorId id : LayerTensors(spec, layer)) count += NumElements(TensorShape(spec, id.role));
  return count;
}

std::string TensorName(TensorId id) {
  std::string name = kRoleNames[static_cast<size_t>(id.role)];
  if (id.layer >= 0) name = "layers." + std::to_string(id.layer) + "." + name;
  return id.expert < 0 ? name : name + "." + std::to_string(id.expert);
}

}  // namespace tessera::shard_loader
