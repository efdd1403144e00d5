// generation_config.json: what the makers of a model propose for sampling.
#ifndef TESSERA_SHARD_LOADER_MODEL_GENERATION_CONFIG_H_
#define TESSERA_SHARD_LOADER_MODEL_GENERATION_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace tessera::shard_loader {

// Those fields that vLLM takes as defaults of its sampling parameters; absent ones keep the
// server's own. `do_sample: false` alone changes nothing, as there.
struct GenerationDefaults {
  std::optional<double> temperature;
  std::optional<int64_t> top_k;
  std::optional<double> top_p;
  std::optional<double> min_p;
  std::optional<double> repetition_penalty;
  std::optional<int64_t> max_new_tokens;
  std::vector<int64_t> eos_token_ids;  // join the stop ids
};

// DATA_LOSS: no JSON object. FAILED_PRECONDITION: a field of a wrong type or out of range.
absl::StatusOr<GenerationDefaults> ParseGenerationConfig(std::string_view generation_config_json);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_MODEL_GENERATION_CONFIG_H_
