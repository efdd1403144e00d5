#include "client/cli/generation_flags.h"

#include <map>
#include <string>
#include <vector>

#include <CLI/Validators.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "client/cli/input.h"
#include "client/cli/terminal.h"

namespace tessera::client {
namespace {

struct Bias {
  uint32_t id = 0;
  float bias = 0;
};

absl::StatusOr<Bias> ParseBias(const std::string& text) {
  const size_t colon = text.find(':');
  Bias result;
  if (colon == std::string::npos || !absl::SimpleAtoi(text.substr(0, colon), &result.id) ||
      !absl::SimpleAtof(text.substr(colon + 1), &result.bias)) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", Escaped(text), "' is not ID:BIAS, as in 42:-1.5"));
  }
  return result;
}

// A check that refuses what `parse` refuses.
template <typename Parse>
CLI::Validator Checked(Parse parse) {
  return CLI::Validator(
      [parse](std::string& text) { return std::string(parse(text).status().message()); }, "");
}

void AddRestrictions(CLI::App& app, SamplingOptions& sampling) {
  const std::string group = "Sampling";
  app.add_option_function<std::vector<std::string>>(
         "--logit-bias",
         [&sampling](const std::vector<std::string>& values) {
           for (const std::string& value : values) {
             const Bias each = *ParseBias(value);
             sampling.logit_bias[each.id] = each.bias;
           }
         },
         "Add BIAS to the logit of a token; may be given several times")
      ->check(Checked(ParseBias))
      ->allow_extra_args(false)
      ->type_name("ID:BIAS")
      ->group(group);
  app.add_option_function<std::string>(
         "--allowed-token-ids",
         [&sampling](const std::string& ids) { sampling.allowed_token_ids = *ParseTokenIds(ids); },
         "Draw from these tokens only")
      ->check(Checked(ParseTokenIds))
      ->type_name("ID,ID,...")
      ->group(group);
  app.add_option("--bad-word", sampling.bad_words, "Never write this; may be given several times")
      ->allow_extra_args(false)
      ->group(group);
}

void AddSampling(CLI::App& app, SamplingOptions& sampling) {
  const std::string group = "Sampling";
  app.add_option("--temperature", sampling.temperature, "0 takes the likeliest token every time")
      ->group(group);
  app.add_option("--top-k", sampling.top_k, "Draw from the K likeliest tokens only")->group(group);
  app.add_option("--top-p", sampling.top_p, "Draw from the likeliest tokens that sum up to P")
      ->group(group);
  app.add_option("--min-p", sampling.min_p,
                 "Drop tokens less likely than P times the likeliest one")
      ->group(group);
  app.add_option("--typical-p", sampling.typical_p, "Locally typical sampling with mass P")
      ->group(group);
  app.add_option("--repetition-penalty", sampling.repetition_penalty,
                 "Above 1: tokens of prompt and answer get less likely")
      ->group(group);
  app.add_option("--presence-penalty", sampling.presence_penalty,
                 "Taken from the logit of every token of the answer")
      ->group(group);
  app.add_option("--frequency-penalty", sampling.frequency_penalty,
                 "Taken once per time that a token stands in the answer")
      ->group(group);
  app.add_option("--seed", sampling.seed, "The same seed draws the same tokens")->group(group);
  app.add_option("--n", sampling.n, "Answers to the same prompt")->group(group);
  app.add_option("--best-of", sampling.best_of, "Draw so many answers and show the N likeliest")
      ->group(group);
  app.add_option("--beam-width", sampling.beam_width, "Search with so many beams, drawing nothing")
      ->group(group);
  app.add_option("--length-penalty", sampling.length_penalty,
                 "Of beams: above 0 longer answers score better")
      ->group(group);
  AddRestrictions(app, sampling);
}

void AddStop(CLI::App& app, StopOptions& stop) {
  const std::string group = "Where to stop";
  app.add_option("--max-tokens", stop.max_tokens, "At most this many new tokens")->group(group);
  app.add_option("--min-tokens", stop.min_tokens, "No end before this many new tokens")
      ->group(group);
  app.add_option("--stop", stop.strings, "Stop at this text; may be given several times")
      ->allow_extra_args(false)
      ->group(group);
  app.add_option("--stop-token-id", stop.token_ids, "Stop at this token; likewise")
      ->allow_extra_args(false)
      ->group(group);
  app.add_flag_callback(
         "--ignore-eos", [&stop] { stop.ignore_eos = true; }, "Go on after the model's own end")
      ->group(group);
  app.add_flag_callback(
         "--include-stop-string", [&stop] { stop.include_stop_string = true; },
         "Print the stop text too")
      ->group(group);
}

}  // namespace

void AddGenerationFlags(CLI::App& app, CallOptions& options) {
  AddSampling(app, options.sampling);
  AddStop(app, options.stop);
  const std::string group = "Output";
  app.add_option("--logprobs", options.output.logprobs,
                 "Show the logprob of every token and N alternatives")
      ->group(group);
  app.add_option("--prompt-logprobs", options.output.prompt_logprobs,
                 "The same for the prompt's tokens")
      ->group(group);
  app.add_flag_callback(
         "--keep-special-tokens", [&options] { options.output.keep_special_tokens = true; },
         "Print special tokens as text")
      ->group(group);
  app.add_option_function<double>(
         "--timeout",
         [&options](const double& seconds) { options.timeout = absl::Seconds(seconds); },
         "Give up after this many seconds")
      ->check(CLI::PositiveNumber)
      ->group(group);
  options.retry = Retry::kResume;
  const std::map<std::string, Retry> retries = {{"resume", Retry::kResume}, {"none", Retry::kNone}};
  app.add_option("--retry", options.retry,
                 "When the server goes away: resume waits for it and goes on with the same text "
                 "(default); none ends")
      ->transform(CLI::CheckedTransformer(retries).description("resume|none"))
      ->group(group);
  app.add_option_function<double>(
         "--retry-timeout",
         [&options](const double& seconds) { options.resume_timeout = absl::Seconds(seconds); },
         "Wait at most this many seconds for the server to come back (default: 60)")
      ->check(CLI::PositiveNumber)
      ->group(group);
  app.add_option("--request-id", options.request_id, "The request's name in logs; default: made up")
      ->group(group);
  app.add_option("--model", options.model, "The model, where the server has several")->group(group);
}

}  // namespace tessera::client
