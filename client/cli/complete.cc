#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "client/cli/answer.h"
#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "client/cli/generation_flags.h"
#include "client/cli/input.h"

namespace tessera::client {
namespace {

constexpr char kExamples[] =
    "Examples:\n"
    "  tessera complete 'Once upon a time' --max-tokens 64 --temperature 0\n"
    "  tessera complete --json --seed 7 < prompt.txt\n"
    "  tessera complete --token-ids 0,581,601 --show-token-ids";

struct Flags {
  GenerateOptions generate;
  std::optional<std::string> prompt;
  std::optional<std::string> token_ids;
  AnswerOptions answer;
};

int Run(Flags& flags, const Context& context) {
  if (flags.token_ids && flags.prompt) {
    context.Fail(absl::InvalidArgumentError("a prompt and --token-ids exclude each other"));
    return kExitUsage;
  }
  if (flags.token_ids) {
    auto ids = ParseTokenIds(*flags.token_ids);
    if (!ids.ok()) {
      context.Fail(ids.status());
      return kExitUsage;
    }
    flags.generate.prompt = *std::move(ids);
  } else {
    flags.generate.prompt = TextOrStdin(flags.prompt, context.io);
  }
  if (flags.answer.json || flags.answer.show_token_ids) flags.generate.output.token_ids = true;

  flags.answer.several = flags.generate.sampling.n.value_or(1) > 1;
  auto client = context.Connect();
  if (!client.ok()) return context.Fail(client.status());
  auto stream = (*client)->Generate(flags.generate);
  return ShowAnswer(*stream, context, flags.answer);
}

}  // namespace

void AddComplete(CLI::App& app, Context& context) {
  auto flags = std::make_shared<Flags>();  // shared with the callback, which outlives this call
  CLI::App* command = app.add_subcommand("complete", "Complete a prompt");
  command->footer(kExamples);
  command->add_option("prompt", flags->prompt, "The prompt; without it, or -: standard input");
  command->add_option("--token-ids", flags->token_ids, "The prompt as token ids, as they are")
      ->type_name("ID,ID,...");
  AddGenerationFlags(*command, flags->generate);
  command
      ->add_flag_callback(
          "--echo", [flags] { flags->generate.output.echo = true; },
          "Begin the answer with the prompt; --logprobs then shows its tokens too")
      ->group("Output");
  command->add_flag("--show-token-ids", flags->answer.show_token_ids, "Print the ids too")
      ->group("Output");
  command->add_flag("--json", flags->answer.json, "Print one JSON object at the end")
      ->group("Output");
  command->callback(
      [flags, &context] { context.action = [flags, &context] { return Run(*flags, context); }; });
}

}  // namespace tessera::client
