#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <utility>

#include "client/cli/answer.h"
#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "client/cli/generation_flags.h"
#include "client/cli/input.h"
#include "client/cli/interrupt.h"
#include "client/cli/terminal.h"
#include "client/lib/error_details.h"

namespace tessera::client {
namespace {

constexpr char kExamples[] =
    "Without a message, on a terminal: a conversation. Ctrl-C stops an answer, Ctrl-D ends.\n"
    "Examples:\n"
    "  tessera chat\n"
    "  tessera chat 'What is the capital of France?' --max-tokens 32\n"
    "  tessera chat --system 'You are brief.' --json < question.txt";

constexpr char kHelp[] =
    "/help   this list\n"
    "/reset  forget the conversation\n"
    "/exit   leave (or Ctrl-D)\n"
    "Ctrl-C stops an answer. Arrow keys and Ctrl-R find earlier lines.\n"
    "A line that begins with a space is sent as it is, also where a slash follows.\n";

struct Flags {
  ChatOptions chat;
  std::optional<std::string> message;
  std::string system;
  AnswerOptions answer;
};

// One conversation at a terminal.
class Conversing {
 public:
  Conversing(Flags& flags, Client& client, const Context& context)
      : flags_(flags), client_(client), context_(context) {
    Reset();
  }

  int Run() {
    std::ostream& out = context_.io.out;
    out << "Type a message, or /help. Ctrl-D ends." << std::endl;
    auto lines = context_.io.make_line_reader();
    // Between a line and its answer Ctrl-C must not end the conversation either.
    Interrupt interrupt([] {});
    while (true) {
      Line line = lines->Read("> ");
      if (line.kind == Line::Kind::kEnd) break;
      if (line.kind == Line::Kind::kInterrupted || line.text.empty()) continue;
      lines->Remember(line.text);
      if (line.text == "/exit" || line.text == "/quit") return kExitOk;
      if (line.text[0] == '/') {
        Command(line.text);
      } else {
        Turn(line.text);
      }
    }
    out << std::endl;
    return kExitOk;
  }

 private:
  void Reset() {
    flags_.chat.conversation.messages.clear();
    if (!flags_.system.empty()) {
      flags_.chat.conversation.messages.push_back({.role = "system", .content = flags_.system});
    }
  }

  void Command(const std::string& line) {
    if (line == "/help") {
      context_.io.out << kHelp << std::flush;
    } else if (line == "/reset") {
      Reset();
      context_.io.out << "The conversation begins anew." << std::endl;
    } else {
      context_.io.out << "Unknown command " << Escaped(line) << "; /help lists them." << std::endl;
    }
  }

  // Asks, shows the answer and remembers both; an answer that was stopped counts as far as it came.
  void Turn(const std::string& text) {
    auto& messages = flags_.chat.conversation.messages;
    messages.push_back({.role = "user", .content = text});
    Answer answer = ShowStream(*client_.Chat(flags_.chat), context_, /*print_text=*/true);
    std::string reply;
    if (!answer.completion.sequences.empty()) reply = answer.completion.sequences[0].text;
    if (answer.interrupted) {
      context_.io.out << Styled("[stopped]", Style::kDim, context_.use_color()) << std::endl;
    } else if (!answer.status.ok()) {
      context_.Fail(answer.status);
    }
    if (reply.empty() && (answer.interrupted || !answer.status.ok())) {
      messages.pop_back();  // not asked, so that the same message can be sent again
    } else {
      messages.push_back({.role = "assistant", .content = reply});
    }
  }

  Flags& flags_;
  Client& client_;
  const Context& context_;
};

int Run(Flags& flags, const Context& context) {
  const bool converse = !flags.message && context.io.in_is_terminal;
  auto& messages = flags.chat.conversation.messages;
  if (!converse) {
    if (!flags.system.empty()) messages.push_back({.role = "system", .content = flags.system});
    messages.push_back({.role = "user", .content = TextOrStdin(flags.message, context.io)});
  }
  flags.answer.several = flags.chat.sampling.n.value_or(1) > 1;
  if (converse && flags.answer.several) {
    context.Fail(
        absl::InvalidArgumentError("--n is for one message; a conversation has one answer"));
    return kExitUsage;
  }
  auto client = context.Connect();
  if (!client.ok()) return context.Fail(client.status());
  if (converse) return Conversing(flags, **client, context).Run();
  if (flags.answer.json || flags.answer.show_token_ids) flags.chat.output.token_ids = true;
  auto stream = (*client)->Chat(flags.chat);
  return ShowAnswer(*stream, context, flags.answer);
}

}  // namespace

void AddChat(CLI::App& app, Context& context) {
  auto flags = std::make_shared<Flags>();  // shared with the callback, which outlives this call
  CLI::App* command = app.add_subcommand("chat", "Talk to the model");
  command->footer(kExamples);
  command->add_option("message", flags->message,
                      "One message; without it a conversation, or standard input if it is no "
                      "terminal");
  command->add_option("--system", flags->system, "The system message");
  command
      ->add_option("--template-kwargs", flags->chat.conversation.chat_template_kwargs_json,
                   "More variables for the chat template")
      ->type_name("JSON");
  AddGenerationFlags(*command, flags->chat);
  command->add_flag("--show-token-ids", flags->answer.show_token_ids, "Print the ids too")
      ->group("Output");
  command->add_flag("--json", flags->answer.json, "Print one JSON object at the end")
      ->group("Output");
  command->callback(
      [flags, &context] { context.action = [flags, &context] { return Run(*flags, context); }; });
}

}  // namespace tessera::client
