// The model as clients see it, and the bounds of what they may ask of it.
#ifndef TESSERA_SERVER_FRONTEND_SERVED_MODEL_H_
#define TESSERA_SERVER_FRONTEND_SERVED_MODEL_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tessera::server {

// What generation_config.json sets; absent: the server's own default.
struct SamplingDefaults {
  std::optional<float> temperature;
  std::optional<int32_t> top_k;
  std::optional<float> top_p;
  std::optional<float> min_p;
  std::optional<float> repetition_penalty;
  std::optional<uint32_t> max_tokens;
};

struct ServedModel {
  std::string name;
  std::string family;
  uint32_t max_model_len = 0;  // tokens of prompt and answer together
  uint32_t vocab_size = 0;
  uint32_t max_logprobs = 20;
  uint64_t num_parameters = 0;
  std::string weights_version;
  std::vector<uint32_t> eos_token_ids;
  SamplingDefaults defaults;
  // Longer texts have more tokens than the context, whatever they say; refused before they are
  // tokenized.
  size_t max_prompt_bytes = 0;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_FRONTEND_SERVED_MODEL_H_
