#include "client/cli/verify_answers.h"

#include <algorithm>
#include <bit>
#include <future>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "shard_loader/status_macros.h"

namespace tessera::client {
namespace {

// Around a KV block of 16, and beyond an attention tile of 256.
constexpr uint64_t kPromptLengths[] = {1, 15, 40, kLongestPrompt};
constexpr uint64_t kSeed = 20260301;

std::vector<uint32_t> PromptIds(uint64_t length, const ModelInfo& model) {
  std::vector<uint32_t> ids;
  for (uint64_t i = 0; i < length; ++i) {
    ids.push_back(static_cast<uint32_t>((length * 31 + i * i * 17 + i * 7) % model.vocab_size));
  }
  return ids;
}

void AddBoth(std::string name, GenerateOptions options, std::vector<Question>& questions) {
  options.sampling.temperature = 0.0f;
  questions.push_back({absl::StrCat(name, ", greedy"), options});
  options.sampling.temperature = 0.9f;
  options.sampling.top_p = 0.95f;
  options.sampling.repetition_penalty = 1.1f;
  options.sampling.seed = kSeed;
  questions.push_back({absl::StrCat(name, ", drawn"), options});
}

bool SameBits(float a, float b) { return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b); }

bool Same(const TokenLogprobs& a, const TokenLogprobs& b) {
  if (a.token_id != b.token_id || a.logprob.has_value() != b.logprob.has_value() ||
      a.top.size() != b.top.size() || (a.logprob && !SameBits(*a.logprob, *b.logprob))) {
    return false;
  }
  return std::equal(a.top.begin(), a.top.end(), b.top.begin(),
                    [](const TopLogprob& x, const TopLogprob& y) {
                      return x.token_id == y.token_id && SameBits(x.logprob, y.logprob);
                    });
}

std::string Show(const TokenLogprobs& token) {
  if (!token.logprob) return absl::StrCat("token ", token.token_id);
  // Nine digits tell any two floats apart.
  return absl::StrFormat("token %d (logprob %.9g)", token.token_id, *token.logprob);
}

std::optional<Difference> FirstIn(const std::vector<TokenLogprobs>& expected,
                                  const std::vector<TokenLogprobs>& found, uint64_t first) {
  const size_t both = std::min(expected.size(), found.size());
  for (size_t i = 0; i < both; ++i) {
    if (Same(expected[i], found[i])) continue;
    std::string what = absl::StrCat(Show(found[i]), " where ", Show(expected[i]), " was due");
    if (Show(found[i]) == Show(expected[i])) what = "other logprobs of the alternatives";
    return Difference{first + i, std::move(what)};
  }
  if (expected.size() == found.size()) return std::nullopt;
  return Difference{first + both,
                    absl::StrCat(found.size(), " tokens where ", expected.size(), " were due")};
}

absl::StatusOr<Completion> Ask(Client& client, const Question& question) {
  auto stream = client.Generate(question.options);
  return Collect(*stream);
}

}  // namespace

std::vector<Question> MakeQuestions(const ModelInfo& model, const std::vector<std::string>& texts,
                                    uint32_t max_tokens) {
  GenerateOptions options;
  options.stop.max_tokens = max_tokens;
  options.stop.ignore_eos = true;
  options.output.logprobs = 3;
  options.output.prompt_logprobs = 1;
  options.output.token_ids = true;
  std::vector<Question> questions;
  for (uint64_t length : kPromptLengths) {
    if (length + max_tokens > model.max_model_len) continue;
    options.prompt = PromptIds(length, model);
    AddBoth(absl::StrCat("a prompt of ", length), options, questions);
  }
  for (size_t i = 0; i < texts.size(); ++i) {
    options.prompt = texts[i];
    AddBoth(absl::StrCat("prompt ", i + 1), options, questions);
  }
  return questions;
}

std::optional<Difference> FirstDifference(const Completion& expected, const Completion& found) {
  const auto& prompt = expected.accepted.prompt_logprobs;
  if (auto difference = FirstIn(prompt, found.accepted.prompt_logprobs, 0)) return difference;
  const uint64_t length = expected.accepted.prompt_token_ids.size();
  if (expected.sequences.size() != found.sequences.size()) {
    return Difference{length, absl::StrCat(found.sequences.size(), " sequences where ",
                                           expected.sequences.size(), " were due")};
  }
  for (size_t i = 0; i < expected.sequences.size(); ++i) {
    const Sequence& due = expected.sequences[i];
    const Sequence& got = found.sequences[i];
    if (auto difference = FirstIn(due.logprobs, got.logprobs, length)) return difference;
    if (due.text != got.text) return Difference{length, "another text of the same tokens"};
  }
  return std::nullopt;
}

absl::StatusOr<std::vector<Completion>> AskAll(Client& client,
                                               const std::vector<Question>& questions,
                                               bool at_once) {
  std::vector<std::future<absl::StatusOr<Completion>>> pending;
  std::vector<Completion> answers;
  for (const Question& question : questions) {
    pending.push_back(std::async(at_once ? std::launch::async : std::launch::deferred,
                                 [&client, &question] { return Ask(client, question); }));
  }
  absl::Status failed;
  for (auto& each : pending) {
    absl::StatusOr<Completion> answer = each.get();
    if (failed.ok()) failed = answer.status();
    if (answer.ok()) answers.push_back(*std::move(answer));
    if (!failed.ok() && !at_once) break;
  }
  RETURN_IF_ERROR(failed);
  return answers;
}

}  // namespace tessera::client
