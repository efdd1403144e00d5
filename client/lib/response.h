// What the server answers, as plain structs.
#ifndef TESSERA_CLIENT_LIB_RESPONSE_H_
#define TESSERA_CLIENT_LIB_RESPONSE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace tessera::client {

struct TopLogprob {
  uint32_t token_id = 0;
  float logprob = 0.0f;
  std::string token_bytes;  // may be a part of a character
};

struct TokenLogprobs {
  uint32_t token_id = 0;
  std::optional<float> logprob;  // natural logarithm; absent for a prompt's first token
  std::vector<TopLogprob> top;   // descending
  std::string token_bytes;
};

// The first event of a stream.
struct Accepted {
  uint64_t seed = 0;
  std::string numerics_id;
  std::string weights_version;
  std::vector<uint32_t> prompt_token_ids;  // when OutputOptions::token_ids is set
  std::vector<TokenLogprobs> prompt_logprobs;
};

// New text of one sequence; `text` holds whole UTF-8 characters.
struct Delta {
  uint32_t index = 0;
  std::string text;
  std::vector<uint32_t> token_ids;
  std::vector<TokenLogprobs> logprobs;
};

struct Usage {
  uint32_t prompt_tokens = 0;
  uint32_t completion_tokens = 0;
  uint32_t cached_tokens = 0;
};

enum class FinishReason { kUnspecified, kStop, kLength, kCancelled };

// "stop", "length", "cancelled".
std::string_view ToString(FinishReason reason);

// The last event of one sequence.
struct Finished {
  uint32_t index = 0;
  FinishReason reason = FinishReason::kUnspecified;
  Usage usage;
  std::string stop_string;
  std::optional<uint32_t> stop_token_id;
};

struct GenerateEvent {
  std::string request_id;
  std::variant<Accepted, Delta, Finished> event;
};

struct TokenPiece {
  uint32_t id = 0;
  std::string bytes;
  uint64_t begin = 0;  // byte offsets in the text
  uint64_t end = 0;
  bool special = false;
};

struct RenderedPrompt {
  std::string text;
  std::vector<uint32_t> token_ids;
};

struct ModelInfo {
  std::string name;
  std::string family;
  uint64_t max_model_len = 0;
  uint64_t vocab_size = 0;
  std::string numerics_id;
  std::string weights_version;
  uint64_t num_parameters = 0;
  bool has_chat_template = false;
};

// Of the standard health service. The service names "" and "tessera.v1.Inference" mean ready,
// "tessera.live" means alive.
enum class Health { kUnknown, kServing, kNotServing, kServiceUnknown };

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_LIB_RESPONSE_H_
