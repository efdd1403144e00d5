// What a client asks of the server, as plain structs. Meaning, defaults and limits of every field
// stand in proto/README.md; a field left empty takes the server's default.
#ifndef TESSERA_CLIENT_LIB_REQUEST_H_
#define TESSERA_CLIENT_LIB_REQUEST_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace tessera::client {

struct SamplingOptions {
  std::optional<float> temperature;
  std::optional<int32_t> top_k;
  std::optional<float> top_p;
  std::optional<float> min_p;
  std::optional<float> typical_p;
  std::optional<float> repetition_penalty;
  std::optional<float> presence_penalty;
  std::optional<float> frequency_penalty;
  std::optional<uint64_t> seed;
  std::optional<uint32_t> n;
  std::optional<uint32_t> best_of;
  std::optional<uint32_t> beam_width;
  std::optional<float> length_penalty;
  std::map<uint32_t, float> logit_bias;
  std::vector<uint32_t> allowed_token_ids;
  std::vector<std::string> bad_words;
};

struct StopOptions {
  std::optional<uint32_t> max_tokens;
  std::optional<uint32_t> min_tokens;
  std::vector<std::string> strings;
  std::vector<uint32_t> token_ids;
  std::optional<bool> ignore_eos;
  std::optional<bool> include_stop_string;
};

struct OutputOptions {
  std::optional<uint32_t> logprobs;
  std::optional<uint32_t> prompt_logprobs;
  std::optional<bool> echo;
  std::optional<bool> token_ids;
  std::optional<bool> keep_special_tokens;
};

// What becomes of a stream whose server goes away.
enum class Retry {
  kNone,    // it ends in UNAVAILABLE
  kResume,  // it pauses, and goes on with the very text and tokens when the server is back
};

// What Generate and Chat have in common.
struct CallOptions {
  std::string request_id;  // empty: the server makes one
  std::string model;       // empty: the one served
  // Ids that were already generated: with the seed of Accepted a stream goes on where it was.
  std::vector<uint32_t> continue_from;
  SamplingOptions sampling;
  StopOptions stop;
  OutputOptions output;
  std::string tenant;
  int32_t priority = 0;
  // From the call to the end of the stream; past it the stream ends in DEADLINE_EXCEEDED.
  absl::Duration timeout = absl::InfiniteDuration();
  Retry retry = Retry::kNone;
  absl::Duration resume_timeout = absl::Seconds(60);  // for the server to come back
  // Told once for every time that the server goes away; from the thread that calls Next.
  std::function<void(const absl::Status&)> on_interruption;
};

struct GenerateOptions : CallOptions {
  // UTF-8 text, which gets the tokenizer's special tokens, or token ids, taken as they are.
  std::variant<std::string, std::vector<uint32_t>> prompt;
};

struct ToolCall {
  std::string id;
  std::string name;
  std::string arguments_json;
};

struct ChatMessage {
  std::string role;  // "system", "user", "assistant", "tool"
  std::string content;
  std::vector<ToolCall> tool_calls;
  std::string tool_call_id;
  std::string name;
};

// A conversation as the model's chat template takes it.
struct Conversation {
  std::vector<ChatMessage> messages;
  std::vector<std::string> tools_json;    // one JSON object per tool
  std::string chat_template_kwargs_json;  // a JSON object
  std::optional<bool> add_generation_prompt;
  std::optional<bool> parse_special_in_content;
};

struct ChatOptions : CallOptions {
  Conversation conversation;
};

struct TokenizeOptions {
  std::string model;
  std::optional<bool> add_special_tokens;
  std::optional<bool> parse_special_tokens;
};

struct DetokenizeOptions {
  std::string model;
  std::optional<bool> skip_special_tokens;
};

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_LIB_REQUEST_H_
