// Megatron-LM's tensor names: what the tables of its models share.
#ifndef TESSERA_SHARD_LOADER_MODEL_MEGATRON_NAMES_H_
#define TESSERA_SHARD_LOADER_MODEL_MEGATRON_NAMES_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "shard_loader/model/megatron.h"

namespace tessera::shard_loader {

// `megatron` is a name under which the releases' own are one: of a layer "first_norm", "qkv",
// "output", "second_norm", "up" and "down", then ".weight" or ".bias".
struct MegatronRow {
  const char* megatron;
  const char* hugging_face;
  MegatronPart part;
};

// The row of `name`, a name in a model's state dict, as MegatronName. UNIMPLEMENTED where there is
// none: `kind` says what model the tables are of.
absl::StatusOr<MegatronName> FindMegatronName(std::string_view name,
                                              absl::Span<const MegatronRow> names,
                                              absl::Span<const MegatronRow> layer_names,
                                              const char* kind, const std::string& file);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_MODEL_MEGATRON_NAMES_H_
