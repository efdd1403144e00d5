#include "client/cli/generation_flags.h"

#include <string>

namespace tessera::client {
namespace {

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
  app.add_option("--request-id", options.request_id, "The request's name in logs; default: made up")
      ->group(group);
  app.add_option("--model", options.model, "The model, where the server has several")->group(group);
}

}  // namespace tessera::client
