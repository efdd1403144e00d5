#include "shard_loader/model/megatron_names.h"

#include <algorithm>
#include <charconv>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/model/strict_json.h"

namespace tessera::shard_loader {
namespace {

constexpr int64_t kMostLayers = 1 << 16;

// Where the same things lie in the state dicts of several releases.
constexpr std::string_view kPrefixes[] = {"model.", "language_model.", "encoder.", "transformer.",
                                          "decoder."};

struct Alias {
  std::string_view release;
  std::string_view common;
};

// Before Core and in Core; Transformer Engine keeps a norm with the product behind it.
constexpr Alias kAliases[] = {
    {"input_norm.", "first_norm."},
    {"input_layernorm.", "first_norm."},
    {"self_attention.linear_qkv.layer_norm_", "first_norm."},
    {"post_attention_norm.", "second_norm."},
    {"post_attention_layernorm.", "second_norm."},
    {"pre_mlp_layernorm.", "second_norm."},
    {"mlp.linear_fc1.layer_norm_", "second_norm."},
    {"attention.query_key_value.", "qkv."},
    {"self_attention.query_key_value.", "qkv."},
    {"self_attention.linear_qkv.", "qkv."},
    {"attention.dense.", "output."},
    {"self_attention.dense.", "output."},
    {"self_attention.linear_proj.", "output."},
    {"mlp.dense_h_to_4h.", "up."},
    {"mlp.linear_fc1.", "up."},
    {"mlp.dense_4h_to_h.", "down."},
    {"mlp.linear_fc2.", "down."},
};

std::string CommonName(std::string_view name) {
  for (const Alias& alias : kAliases) {
    if (!name.starts_with(alias.release)) continue;
    return std::string(alias.common).append(name.substr(alias.release.size()));
  }
  return std::string(name);
}

// No weight: extra states of Transformer Engine, rotary buffers.
bool IsNothing(std::string_view name) {
  return name.ends_with("._extra_state") || name.find("inv_freq") != name.npos;
}

// Takes "layers.N." off; -1, and leaves the name, where there is none.
int64_t TakeLayer(std::string_view* name) {
  constexpr std::string_view kLayers = "layers.";
  if (!name->starts_with(kLayers)) return -1;
  const std::string_view rest = name->substr(kLayers.size());
  const size_t dot = rest.find('.');
  if (dot == rest.npos) return -1;
  int64_t layer = -1;
  const auto [stop, error] = std::from_chars(rest.data(), rest.data() + dot, layer);
  const bool is_number = error == std::errc() && stop == rest.data() + dot;
  if (!is_number || layer < 0 || layer >= kMostLayers) return -1;
  *name = rest.substr(dot + 1);
  return layer;
}

}  // namespace

absl::StatusOr<MegatronName> FindMegatronName(std::string_view name,
                                              absl::Span<const MegatronRow> names,
                                              absl::Span<const MegatronRow> layer_names,
                                              const char* kind, const std::string& file) {
  if (IsNothing(name)) return MegatronName{};
  std::string_view bare = name;
  for (const std::string_view prefix : kPrefixes) {
    if (bare.starts_with(prefix)) bare.remove_prefix(prefix.size());
  }
  const int64_t layer = TakeLayer(&bare);
  const std::string common = layer < 0 ? std::string(bare) : CommonName(bare);
  for (const MegatronRow& row : layer < 0 ? names : layer_names) {
    if (common == row.megatron) return MegatronName{row.part, layer, row.hugging_face};
  }
  return absl::UnimplementedError(absl::StrCat("shard_loader: ", file, ": tensor '", Excerpt(name),
                                               "' is no weight of a supported Megatron ", kind));
}

}  // namespace tessera::shard_loader
