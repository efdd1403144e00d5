#include "shard_loader/model/generation_config.h"

#include "shard_loader/model/config_reader.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

std::optional<double> Number(ConfigReader& config, const char* key, NumberBounds bounds) {
  if (!config.Has(key)) return std::nullopt;
  return config.Number(key, bounds);
}

std::optional<int64_t> Integer(ConfigReader& config, const char* key, IntegerBounds bounds) {
  if (!config.Has(key)) return std::nullopt;
  return config.Integer(key, bounds);
}

}  // namespace

absl::StatusOr<GenerationDefaults> ParseGenerationConfig(std::string_view generation_config_json) {
  constexpr const char* kFile = "generation_config.json";
  ASSIGN_OR_RETURN(const nlohmann::json document, ParseJsonObject(generation_config_json, kFile));
  ConfigReader config(document, kFile);
  GenerationDefaults defaults;
  defaults.temperature = Number(config, "temperature", {0.0, 100.0});
  defaults.top_k = Integer(config, "top_k", {-1, 1 << 30});
  defaults.top_p = Number(config, "top_p", {1e-6, 1.0});
  defaults.min_p = Number(config, "min_p", {0.0, 1.0});
  defaults.repetition_penalty = Number(config, "repetition_penalty", {1e-3, 1e3});
  defaults.max_new_tokens = Integer(config, "max_new_tokens", {1, 1 << 30});
  for (int64_t id : config.IntegerOrList("eos_token_id", {-1, int64_t{1} << 31})) {
    if (id >= 0) defaults.eos_token_ids.push_back(id);
  }
  RETURN_IF_ERROR(config.status());
  return defaults;
}

}  // namespace tessera::shard_loader
