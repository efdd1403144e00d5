#include "server/frontend/restrictions.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/frontend/check_request.h"
#include "server/text/utf8.h"
#include "shard_loader/status_macros.h"

namespace tessera::server {
namespace {

// Bounds against requests that only cost: no real one comes near.
constexpr int kMaxBadWords = 1024;
constexpr size_t kMaxBadWordBytes = 1024;
constexpr float kMaxBias = 100;  // OpenAI's API, and vLLM

absl::Status OutsideVocabulary(std::string_view field, uint32_t id, const ServedModel& model) {
  return FieldError(field, absl::StrCat(std::string(field), " names id ", id,
                                        ", but the vocabulary has ", model.vocab_size, " ids"));
}

absl::Status ResolveBias(const v1::SamplingParams& in, const ServedModel& model,
                         SamplingParams& out) {
  for (const auto& [id, bias] : in.logit_bias()) {
    if (id >= model.vocab_size) return OutsideVocabulary("sampling.logit_bias", id, model);
    if (!(std::abs(bias) <= kMaxBias)) {
      return FieldError(
          "sampling.logit_bias",
          absl::StrCat("sampling.logit_bias must be in [-100, 100], got ", bias, " for id ", id));
    }
    out.logit_bias.push_back({id, bias});
  }
  std::sort(out.logit_bias.begin(), out.logit_bias.end(),
            [](const TokenBias& a, const TokenBias& b) { return a.id < b.id; });
  return absl::OkStatus();
}

absl::Status ResolveAllowed(const v1::SamplingParams& in, const ServedModel& model,
                            SamplingParams& out) {
  std::vector<uint32_t>& ids = out.allowed_token_ids;
  ids.assign(in.allowed_token_ids().begin(), in.allowed_token_ids().end());
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  if (ids.empty() || ids.back() < model.vocab_size) return absl::OkStatus();
  return OutsideVocabulary("sampling.allowed_token_ids", ids.back(), model);
}

absl::Status CheckWords(const v1::SamplingParams& in) {
  if (in.bad_words_size() > kMaxBadWords) {
    return FieldError("sampling.bad_words", absl::StrCat("at most ", kMaxBadWords,
                                                         " bad words, got ", in.bad_words_size()));
  }
  for (const std::string& word : in.bad_words()) {
    if (absl::StripAsciiWhitespace(word).empty()) {
      return FieldError("sampling.bad_words", "a bad word cannot be empty or white space alone");
    }
    if (word.size() > kMaxBadWordBytes) {
      return FieldError(
          "sampling.bad_words",
          absl::StrCat("a bad word has at most ", kMaxBadWordBytes, " bytes, got ", word.size()));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<uint32_t>> EncodeWord(const std::string& text, const ServedModel& model,
                                                 const Tokenizer& tokenizer) {
  ASSIGN_OR_RETURN(std::vector<uint32_t> ids,
                   tokenizer.EncodeIds(text, EncodeOptions{.add_special_tokens = false}));
  if (ids.empty()) {
    return FieldError("sampling.bad_words",
                      absl::StrCat("the bad word '", text, "' has no tokens in this vocabulary"));
  }
  const uint32_t highest = *std::max_element(ids.begin(), ids.end());
  if (highest >= model.vocab_size) return OutsideVocabulary("sampling.bad_words", highest, model);
  return ids;
}

// Whether the first draw has nothing left. A bad word of several ids forbids nothing by itself.
absl::Status CheckSomethingIsLeft(const Request& request) {
  const SamplingParams& sampling = request.sampling;
  if (sampling.allowed_token_ids.empty()) return absl::OkStatus();
  const auto forbidden = [&](uint32_t id) {
    const std::vector<uint32_t>& stops = request.stop_token_ids;
    const bool stop = std::find(stops.begin(), stops.end(), id) != stops.end();
    const std::vector<uint32_t> word = {id};
    return (stop && request.min_tokens > request.continue_from.size()) ||
           std::find(sampling.bad_words.begin(), sampling.bad_words.end(), word) !=
               sampling.bad_words.end();
  };
  const std::vector<uint32_t>& allowed = sampling.allowed_token_ids;
  if (!std::all_of(allowed.begin(), allowed.end(), forbidden)) return absl::OkStatus();
  return FieldError("sampling.allowed_token_ids",
                    "every id of sampling.allowed_token_ids is forbidden by sampling.bad_words, or "
                    "is a stop id before stop.min_tokens; allow more");
}

}  // namespace

absl::Status ResolveRestrictions(const v1::SamplingParams& in, const ServedModel& model,
                                 SamplingParams& out) {
  RETURN_IF_ERROR(ResolveBias(in, model, out));
  RETURN_IF_ERROR(ResolveAllowed(in, model, out));
  return CheckWords(in);
}

absl::Status ResolveBadWords(const v1::SamplingParams& in, const ServedModel& model,
                             const Tokenizer& tokenizer, Request& request) {
  std::vector<std::vector<uint32_t>>& words = request.sampling.bad_words;
  for (const std::string& word : in.bad_words()) {
    if (FindInvalidUtf8(word) != std::string_view::npos) {
      return FieldError("sampling.bad_words", "a bad word is not UTF-8");
    }
    const std::string text(absl::StripLeadingAsciiWhitespace(word));
    ASSIGN_OR_RETURN(std::vector<uint32_t> first, EncodeWord(text, model, tokenizer));
    ASSIGN_OR_RETURN(std::vector<uint32_t> inside,
                     EncodeWord(absl::StrCat(" ", text), model, tokenizer));
    const bool another = inside != first;
    words.push_back(std::move(first));
    if (another) words.push_back(std::move(inside));
  }
  return CheckSomethingIsLeft(request);
}

}  // namespace tessera::server
