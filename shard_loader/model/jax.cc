#include "shard_loader/model/jax.h"

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/model/strict_json.h"

namespace tessera::shard_loader {
namespace {

// A tree of parameters inside of a trainer's state.
constexpr std::string_view kPrefixes[] = {"train_state.", "state.", "target.", "params."};
constexpr std::string_view kOtherStates[] = {"opt_state.", "param_states.", "optimizer.", "step",
                                             "rng"};

// What T5X's and MaxText's own models call their parameters.
constexpr std::string_view kNative[] = {
    "token_embedder.",     "decoder.layers_",       "decoder.layers.self_attention.",
    "decoder.layers.mlp.", "decoder.decoder_norm.", "decoder.logits_dense."};

bool TakeSuffix(std::string_view suffix, std::string* name) {
  if (!name->ends_with(suffix)) return false;
  name->resize(name->size() - suffix.size());
  return true;
}

}  // namespace

absl::StatusOr<ForeignName> HuggingFaceNameOfFlax(std::string_view path) {
  const std::string_view given = path;
  for (bool again = true; again;) {
    again = false;
    for (const std::string_view prefix : kPrefixes) {
      if (!path.starts_with(prefix)) continue;
      path.remove_prefix(prefix.size());
      again = true;
    }
  }
  for (const std::string_view other : kOtherStates) {
    if (path.starts_with(other)) return ForeignName{};
  }
  for (const std::string_view native : kNative) {
    if (!path.starts_with(native)) continue;
    return absl::UnimplementedError(absl::StrCat(
        "shard_loader: array '", Excerpt(given),
        "' has a name of T5X's or MaxText's own models, which are not supported; those of Hugging "
        "Face's Flax models are: convert it with MaxText's to_huggingface and open the result"));
  }
  ForeignName out{std::string(path)};
  out.transposed = TakeSuffix(".kernel", &out.name);
  if (out.transposed || TakeSuffix(".embedding", &out.name) || TakeSuffix(".scale", &out.name)) {
    out.name += ".weight";
  }
  return out;
}

}  // namespace tessera::shard_loader
