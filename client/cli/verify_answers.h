// What `tessera verify` asks, and how two answers are compared.
#ifndef TESSERA_CLIENT_CLI_VERIFY_ANSWERS_H_
#define TESSERA_CLIENT_CLI_VERIFY_ANSWERS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/lib/client.h"
#include "client/lib/collect.h"

namespace tessera::client {

// Tokens of the longest question of MakeQuestions, without its answer; texts may be longer.
inline constexpr uint32_t kLongestPrompt = 270;

struct Question {
  std::string name;  // "prompt 2, drawn"
  GenerateOptions options;
};

// Prompts of several lengths, over the borders of KV blocks and attention tiles where the model has
// room, each answered greedily and drawn with a seed; with the logprobs of prompt and answer.
// `texts` are asked likewise.
std::vector<Question> MakeQuestions(const ModelInfo& model, const std::vector<std::string>& texts,
                                    uint32_t max_tokens);

struct Difference {
  uint64_t position = 0;  // of the token in prompt and answer together
  std::string what;       // "token 7 (logprob -0.25) where token 9 (logprob -0.3) was due"
};

// The first token that is another one, or whose logprobs have other bits. Nothing where all are
// equal.
std::optional<Difference> FirstDifference(const Completion& expected, const Completion& found);

// All questions, one after the other or all at once, in the order of `questions`.
absl::StatusOr<std::vector<Completion>> AskAll(Client& client,
                                               const std::vector<Question>& questions,
                                               bool at_once);

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_CLI_VERIFY_ANSWERS_H_
