#include "server/frontend/check_request.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/rpc/status.h"
#include "server/frontend/restrictions.h"
#include "server/text/utf8.h"
#include "shard_loader/status_macros.h"

namespace tessera::server {
namespace {

// Bounds against requests that only cost: no real one comes near.
constexpr size_t kMaxRequestIdBytes = 256;
constexpr size_t kMaxTenantBytes = 256;
constexpr int64_t kMaxPriority = 100;
constexpr int kMaxStopStrings = 64;
constexpr size_t kMaxStopStringBytes = 1024;
constexpr int kMaxStopTokenIds = 1024;
constexpr uint32_t kMaxSequences = 128;
constexpr uint32_t kMaxBeamWidth = 64;

// A range of a float parameter, as vLLM writes it in its messages.
struct Range {
  float low;
  bool low_included;
  float high;
  const char* text;
};
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr Range kNonNegative{0, true, kInfinity, "must be non-negative and finite"};
constexpr Range kPositive{0, false, kInfinity, "must be greater than zero and finite"};
constexpr Range kUpToOne{0, false, 1, "must be in (0, 1]"};
constexpr Range kZeroToOne{0, true, 1, "must be in [0, 1]"};
constexpr Range kAnyPenalty{-10, true, 10, "must be in [-10, 10]"};
constexpr Range kPenalty{-2, true, 2, "must be in [-2, 2]"};

absl::Status CheckRange(std::string_view field, float value, const Range& range) {
  bool low = range.low_included ? value >= range.low : value > range.low;
  if (std::isfinite(value) && low && value <= range.high) return absl::OkStatus();
  return FieldError(field, absl::StrCat(std::string(field), " ", range.text, ", got ", value));
}

absl::Status ResolveSequences(const v1::SamplingParams& in, Request& request) {
  request.n = in.has_n() ? in.n() : 1;
  if (request.n < 1 || request.n > kMaxSequences) {
    return FieldError("sampling.n", absl::StrCat("sampling.n must be at least 1 and at most ",
                                                 kMaxSequences, ", got ", request.n));
  }
  request.best_of = in.has_best_of() ? in.best_of() : request.n;
  if (request.best_of < request.n || request.best_of > kMaxSequences) {
    return FieldError("sampling.best_of",
                      absl::StrCat("sampling.best_of must be at least n (", request.n,
                                   ") and at most ", kMaxSequences, ", got ", request.best_of));
  }
  return absl::OkStatus();
}

// What says how tokens are drawn, where none is: beams are chosen by their scores.
absl::Status RefuseBesideBeams(const v1::SamplingParams& in, const Request& request) {
  const std::pair<bool, const char*> others[] = {
      {in.has_temperature() && in.temperature() != 0, "sampling.temperature"},
      {in.has_top_k(), "sampling.top_k"},
      {in.has_top_p(), "sampling.top_p"},
      {in.has_min_p(), "sampling.min_p"},
      {in.has_typical_p(), "sampling.typical_p"},
      {in.has_repetition_penalty(), "sampling.repetition_penalty"},
      {in.has_presence_penalty(), "sampling.presence_penalty"},
      {in.has_frequency_penalty(), "sampling.frequency_penalty"},
      {in.has_best_of(), "sampling.best_of"},
      {!request.stop_strings.empty(), "stop.strings"},
  };
  for (const auto& [set, field] : others) {
    if (set) {
      return FieldError(field, absl::StrCat(field,
                                            " does not go with sampling.beam_width: beams "
                                            "are chosen by logprobs and logit_bias alone; leave "
                                            "it out"));
    }
  }
  return absl::OkStatus();
}

absl::Status ResolveBeams(const v1::SamplingParams& in, Request& request) {
  if (!in.has_beam_width()) {
    if (!in.has_length_penalty()) return absl::OkStatus();
    return FieldError("sampling.length_penalty",
                      "sampling.length_penalty is of beam search: give sampling.beam_width too");
  }
  if (in.beam_width() < std::max(1u, request.n) || in.beam_width() > kMaxBeamWidth) {
    return FieldError("sampling.beam_width",
                      absl::StrCat("sampling.beam_width must be at least n (", request.n,
                                   ") and at most ", kMaxBeamWidth, ", got ", in.beam_width()));
  }
  RETURN_IF_ERROR(RefuseBesideBeams(in, request));
  if (request.max_tokens == 0u) {
    return FieldError("stop.max_tokens", "stop.max_tokens must be at least 1 for beams, got 0");
  }
  request.beam_width = in.beam_width();
  request.best_of = request.n;
  request.length_penalty = in.has_length_penalty() ? in.length_penalty() : 1.0f;
  return CheckRange("sampling.length_penalty", request.length_penalty, kAnyPenalty);
}

// The ids of continue_from are those of one answer.
absl::Status CheckContinuation(const Request& request) {
  if (request.continue_from.empty() || (request.best_of == 1 && !request.beam_width)) {
    return absl::OkStatus();
  }
  return FieldError("continue_from",
                    "continue_from goes on with one answer; with sampling.n, best_of or beam_width "
                    "there are several: leave it out, and start again");
}

SamplingParams Resolve(const v1::SamplingParams& in, const SamplingDefaults& defaults) {
  SamplingParams out;
  out.temperature = in.has_temperature() ? in.temperature() : defaults.temperature.value_or(1.0f);
  out.top_k = in.has_top_k() ? in.top_k() : defaults.top_k.value_or(0);
  out.top_p = in.has_top_p() ? in.top_p() : defaults.top_p.value_or(1.0f);
  out.min_p = in.has_min_p() ? in.min_p() : defaults.min_p.value_or(0.0f);
  out.typical_p = in.has_typical_p() ? in.typical_p() : 1.0f;
  out.repetition_penalty = in.has_repetition_penalty() ? in.repetition_penalty()
                                                       : defaults.repetition_penalty.value_or(1.0f);
  out.presence_penalty = in.presence_penalty();
  out.frequency_penalty = in.frequency_penalty();
  out.seed = in.seed();
  return out;
}

absl::Status CheckSampling(const SamplingParams& params) {
  RETURN_IF_ERROR(CheckRange("sampling.temperature", params.temperature, kNonNegative));
  RETURN_IF_ERROR(CheckRange("sampling.top_p", params.top_p, kUpToOne));
  RETURN_IF_ERROR(CheckRange("sampling.min_p", params.min_p, kZeroToOne));
  RETURN_IF_ERROR(CheckRange("sampling.typical_p", params.typical_p, kUpToOne));
  RETURN_IF_ERROR(CheckRange("sampling.repetition_penalty", params.repetition_penalty, kPositive));
  RETURN_IF_ERROR(CheckRange("sampling.presence_penalty", params.presence_penalty, kPenalty));
  RETURN_IF_ERROR(CheckRange("sampling.frequency_penalty", params.frequency_penalty, kPenalty));
  if (params.top_k < -1) {
    return FieldError(
        "sampling.top_k",
        absl::StrCat("sampling.top_k must be -1 or 0 (off), or at least 1, got ", params.top_k));
  }
  return absl::OkStatus();
}

absl::Status CheckStopStrings(const v1::StopConditions& stop) {
  if (stop.strings_size() > kMaxStopStrings) {
    return FieldError("stop.strings", absl::StrCat("at most ", kMaxStopStrings,
                                                   " stop strings, got ", stop.strings_size()));
  }
  for (const std::string& text : stop.strings()) {
    if (text.empty()) return FieldError("stop.strings", "a stop string cannot be empty");
    if (text.size() > kMaxStopStringBytes) {
      return FieldError("stop.strings",
                        absl::StrCat("a stop string has at most ", kMaxStopStringBytes,
                                     " bytes, got ", text.size()));
    }
  }
  return absl::OkStatus();
}

absl::Status ResolveStop(const v1::StopConditions& stop, const ServedModel& model,
                         Request& request) {
  RETURN_IF_ERROR(CheckStopStrings(stop));
  if (stop.token_ids_size() > kMaxStopTokenIds) {
    return FieldError(
        "stop.token_ids",
        absl::StrCat("at most ", kMaxStopTokenIds, " stop token ids, got ", stop.token_ids_size()));
  }
  RETURN_IF_ERROR(CheckTokenIds("stop.token_ids", stop.token_ids(), model));
  request.stop_strings.assign(stop.strings().begin(), stop.strings().end());
  request.stop_token_ids.assign(stop.token_ids().begin(), stop.token_ids().end());
  if (!stop.ignore_eos()) {
    request.stop_token_ids.insert(request.stop_token_ids.end(), model.eos_token_ids.begin(),
                                  model.eos_token_ids.end());
  }
  request.include_stop = stop.include_stop_string();
  if (stop.has_max_tokens()) request.max_tokens = stop.max_tokens();
  request.min_tokens = stop.min_tokens();
  uint32_t most = request.max_tokens.value_or(model.max_model_len);
  if (request.min_tokens > most) {
    return FieldError("stop.min_tokens",
                      absl::StrCat("stop.min_tokens must be at most max_tokens (", most, "), got ",
                                   request.min_tokens));
  }
  return absl::OkStatus();
}

absl::Status CheckLogprobs(std::string_view field, uint32_t count, const ServedModel& model) {
  if (count <= model.max_logprobs) return absl::OkStatus();
  return FieldError(field, absl::StrCat(std::string(field), " must be at most ", model.max_logprobs,
                                        " (--max-logprobs), got ", count));
}

absl::Status ResolveOutput(const v1::OutputOptions& output, const ServedModel& model,
                           Request& request) {
  if (output.has_logprobs()) {
    RETURN_IF_ERROR(CheckLogprobs("output.logprobs", output.logprobs(), model));
    request.logprobs = output.logprobs();
  }
  if (output.has_prompt_logprobs()) {
    RETURN_IF_ERROR(CheckLogprobs("output.prompt_logprobs", output.prompt_logprobs(), model));
    request.prompt_logprobs = output.prompt_logprobs();
  }
  request.keep_special_tokens = output.keep_special_tokens();
  return absl::OkStatus();
}

// What echo adds: no answer is needed, and the prompt's tokens have logprobs where the answer's do.
absl::Status ResolveEcho(const v1::OutputOptions& output, Request& request) {
  if (request.max_tokens == 0u && !(output.echo() && request.continue_from.empty())) {
    return FieldError("stop.max_tokens",
                      "stop.max_tokens must be at least 1, got 0; with output.echo and without "
                      "continue_from it may be 0");
  }
  request.echo = output.echo() && request.continue_from.empty();
  if (request.echo && request.logprobs) {
    request.prompt_logprobs = std::max(request.prompt_logprobs.value_or(0), *request.logprobs);
  }
  return absl::OkStatus();
}

// GenerateRequest and ChatRequest have these fields under the same names.
template <typename Proto>
absl::StatusOr<Request> CheckCommon(const Proto& proto, const ServedModel& model) {
  RETURN_IF_ERROR(CheckModelName(proto.model(), model));
  if (proto.request_id().size() > kMaxRequestIdBytes) {
    return FieldError("request_id", absl::StrCat("request_id has at most ", kMaxRequestIdBytes,
                                                 " bytes, got ", proto.request_id().size()));
  }
  if (proto.tenant().size() > kMaxTenantBytes) {
    return FieldError("tenant", absl::StrCat("tenant has at most ", kMaxTenantBytes, " bytes, got ",
                                             proto.tenant().size()));
  }
  if (std::abs(int64_t{proto.priority()}) > kMaxPriority) {
    return FieldError("priority", absl::StrCat("priority must be in [-", kMaxPriority, ", ",
                                               kMaxPriority, "], got ", proto.priority()));
  }
  Request request;
  request.id = proto.request_id();
  request.tenant = proto.tenant();
  request.priority = proto.priority();
  request.sampling = Resolve(proto.sampling(), model.defaults);
  RETURN_IF_ERROR(CheckSampling(request.sampling));
  RETURN_IF_ERROR(ResolveRestrictions(proto.sampling(), model, request.sampling));
  RETURN_IF_ERROR(ResolveStop(proto.stop(), model, request));
  RETURN_IF_ERROR(ResolveSequences(proto.sampling(), request));
  RETURN_IF_ERROR(ResolveBeams(proto.sampling(), request));
  RETURN_IF_ERROR(ResolveOutput(proto.output(), model, request));
  RETURN_IF_ERROR(CheckTokenIds("continue_from", proto.continue_from().ids(), model));
  request.continue_from.assign(proto.continue_from().ids().begin(),
                               proto.continue_from().ids().end());
  RETURN_IF_ERROR(CheckContinuation(request));
  RETURN_IF_ERROR(ResolveEcho(proto.output(), request));
  return request;
}

}  // namespace

absl::Status FieldError(std::string_view field, std::string_view message) {
  absl::Status status = absl::InvalidArgumentError(std::string(message));
  rpc::SetFieldViolation(status, field);
  return status;
}

absl::StatusOr<Request> CheckParameters(const v1::GenerateRequest& request,
                                        const ServedModel& model) {
  return CheckCommon(request, model);
}

absl::StatusOr<Request> CheckParameters(const v1::ChatRequest& request, const ServedModel& model) {
  return CheckCommon(request, model);
}

absl::Status CheckModelName(std::string_view name, const ServedModel& model) {
  if (name.empty() || name == model.name) return absl::OkStatus();
  return absl::NotFoundError(
      absl::StrCat("model '", std::string(name), "' is not served here; '", model.name, "' is"));
}

absl::Status CheckText(std::string_view field, std::string_view text, const ServedModel& model) {
  if (text.size() > model.max_prompt_bytes) {
    return FieldError(
        field, absl::StrCat(std::string(field), " has ", text.size(), " bytes, more than the ",
                            model.max_prompt_bytes, " that could fit the context of ",
                            model.max_model_len, " tokens; shorten it"));
  }
  size_t invalid = FindInvalidUtf8(text);
  if (invalid != std::string_view::npos) {
    return FieldError(
        field, absl::StrCat(std::string(field), " is not UTF-8: byte ", invalid, " is wrong"));
  }
  return absl::OkStatus();
}

absl::Status CheckTokenIds(std::string_view field, absl::Span<const uint32_t> ids,
                           const ServedModel& model) {
  if (ids.size() > model.max_model_len) {
    return FieldError(
        field, absl::StrCat(std::string(field), " has ", ids.size(), " ids, but the context has ",
                            model.max_model_len, " tokens; shorten it"));
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= model.vocab_size) {
      return FieldError(field, absl::StrCat(std::string(field), "[", i, "] is ", ids[i],
                                            ", but the vocabulary has ", model.vocab_size, " ids"));
    }
  }
  return absl::OkStatus();
}

absl::Status FitLength(Request& request, const ServedModel& model) {
  uint64_t prompt = request.prompt.size();
  if (prompt == 0) return FieldError("prompt", "the prompt is empty");
  if (prompt >= model.max_model_len) {
    return FieldError(
        "prompt",
        absl::StrCat("the prompt has ", prompt, " tokens, but the context of model '", model.name,
                     "' has ", model.max_model_len, " for prompt and answer; shorten it"));
  }
  if (prompt + request.continue_from.size() > model.max_model_len) {
    return FieldError(
        "continue_from",
        absl::StrCat("prompt and continue_from have ", prompt + request.continue_from.size(),
                     " tokens, but the context has ", model.max_model_len));
  }
  const uint32_t room = model.max_model_len - static_cast<uint32_t>(prompt);
  if (request.max_tokens.value_or(0) > room) {
    return FieldError(
        "stop.max_tokens",
        absl::StrCat("stop.max_tokens is ", *request.max_tokens, ", but after a prompt of ", prompt,
                     " tokens the context of ", model.max_model_len, " has room for ", room));
  }
  if (!request.max_tokens && model.defaults.max_tokens) {
    request.max_tokens = std::min(*model.defaults.max_tokens, room);
  }
  return absl::OkStatus();
}

}  // namespace tessera::server
