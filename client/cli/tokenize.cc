#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"
#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "client/cli/input.h"
#include "client/cli/json.h"
#include "client/cli/terminal.h"
#include "shard_loader/status_macros.h"

namespace tessera::client {
namespace {

constexpr char kExamples[] =
    "Prints the text with its pieces in alternating colours (| between them without colour), then\n"
    "one line per token: id, bytes [begin, end) of the text, piece.\n"
    "Examples:\n"
    "  tessera tokenize 'Hello, world!'\n"
    "  tessera tokenize --json < text.txt\n"
    "  tessera tokenize --ids 15,261,1952\n"
    "  tessera tokenize --chat 'Hello!' --system 'Be brief.'";

struct Flags {
  std::optional<std::string> text;
  std::optional<std::string> ids;
  TokenizeOptions tokenize;
  DetokenizeOptions detokenize;
  bool chat = false;  // the text is a message
  std::string system;
  Conversation conversation;  // what else is said of it
  bool json = false;
};

// Background colours that keep both black and white text readable.
constexpr const char* kBackgrounds[] = {"\x1b[30;48;5;153m", "\x1b[30;48;5;222m",
                                        "\x1b[30;48;5;157m", "\x1b[30;48;5;218m"};
constexpr char kSpecialColor[] = "\x1b[97;45m";
constexpr char kNoColor[] = "\x1b[0m";

void PrintPieces(const std::vector<TokenPiece>& pieces, bool color, std::ostream& out) {
  for (size_t i = 0; i < pieces.size(); ++i) {
    const std::string shown = Escaped(pieces[i].bytes);
    if (!color) {
      out << (i == 0 ? "" : "|") << shown;
    } else if (pieces[i].special) {
      out << kSpecialColor << shown << kNoColor;
    } else {
      out << kBackgrounds[i % std::size(kBackgrounds)] << shown << kNoColor;
    }
  }
  out << "\n\n";
}

void PrintTable(const std::vector<TokenPiece>& pieces, bool color, std::ostream& out) {
  for (const TokenPiece& piece : pieces) {
    out << absl::StrFormat("%8d  %6d..%-6d  ", piece.id, piece.begin, piece.end)
        << Styled("\"" + Escaped(piece.bytes) + "\"",
                  piece.special ? Style::kMagenta : Style::kBold, color)
        << (piece.special ? "  special" : "") << "\n";
  }
  out << pieces.size() << (pieces.size() == 1 ? " token\n" : " tokens\n");
}

absl::Status Encode(const Flags& flags, const Context& context, Client& client) {
  ASSIGN_OR_RETURN(auto pieces,
                   client.Tokenize(TextOrStdin(flags.text, context.io), flags.tokenize));
  if (flags.json) {
    context.io.out << Pretty({{"tokens", ToJson(pieces)}}) << "\n";
  } else {
    PrintPieces(pieces, context.use_color(), context.io.out);
    PrintTable(pieces, context.use_color(), context.io.out);
  }
  return absl::OkStatus();
}

absl::Status Decode(const Flags& flags, const Context& context, Client& client) {
  ASSIGN_OR_RETURN(auto ids, ParseTokenIds(*flags.ids));
  ASSIGN_OR_RETURN(std::string text, client.Detokenize(ids, flags.detokenize));
  if (flags.json) {
    context.io.out << Pretty({{"token_ids", ids}, {"text", text}}) << "\n";
  } else {
    context.io.out << text << "\n";
  }
  return absl::OkStatus();
}

// The prompt that Chat would make.
absl::Status Render(const Flags& flags, const Context& context, Client& client) {
  Conversation conversation = flags.conversation;
  if (!flags.system.empty()) {
    conversation.messages.push_back({.role = "system", .content = flags.system});
  }
  conversation.messages.push_back({.role = "user", .content = TextOrStdin(flags.text, context.io)});
  ASSIGN_OR_RETURN(const RenderedPrompt prompt,
                   client.ApplyChatTemplate(conversation, flags.tokenize.model));
  if (flags.json) {
    context.io.out << Pretty({{"text", prompt.text}, {"token_ids", prompt.token_ids}}) << "\n";
    return absl::OkStatus();
  }
  context.io.out << prompt.text << "\n\n" << prompt.token_ids.size() << " tokens:";
  for (uint32_t id : prompt.token_ids) context.io.out << " " << id;
  context.io.out << "\n";
  return absl::OkStatus();
}

int Run(const Flags& flags, const Context& context) {
  if (flags.ids && (flags.text || flags.chat)) {
    context.Fail(absl::InvalidArgumentError("a text or --chat, and --ids, exclude each other"));
    return kExitUsage;
  }
  auto client = context.Connect();
  if (!client.ok()) return context.Fail(client.status());
  absl::Status status = flags.chat  ? Render(flags, context, **client)
                        : flags.ids ? Decode(flags, context, **client)
                                    : Encode(flags, context, **client);
  context.io.out.flush();
  return status.ok() ? kExitOk : context.Fail(status);
}

}  // namespace

void AddTokenize(CLI::App& app, Context& context) {
  auto flags = std::make_shared<Flags>();  // shared with the callback, which outlives this call
  CLI::App* command = app.add_subcommand("tokenize", "Show how the server's tokenizer cuts a text");
  command->footer(kExamples);
  command->add_option("text", flags->text, "The text; without it, or -: standard input");
  command->add_option("--ids", flags->ids, "Decode these ids instead")->type_name("ID,ID,...");
  command->add_flag_callback(
      "--no-special-tokens", [flags] { flags->tokenize.add_special_tokens = false; },
      "Do not add the tokenizer's special tokens");
  command->add_flag_callback(
      "--plain", [flags] { flags->tokenize.parse_special_tokens = false; },
      "Special tokens written out in the text stay text");
  command->add_flag_callback(
      "--skip-special-tokens", [flags] { flags->detokenize.skip_special_tokens = true; },
      "With --ids: leave special tokens out");
  CLI::Option* chat = command->add_flag(
      "--chat", flags->chat, "The text is a message: show the prompt that the chat template makes");
  command->add_option("--system", flags->system, "With --chat: the system message")->needs(chat);
  command
      ->add_option("--template-kwargs", flags->conversation.chat_template_kwargs_json,
                   "With --chat: a JSON object, more variables for the template")
      ->needs(chat);
  command
      ->add_flag_callback(
          "--no-generation-prompt", [flags] { flags->conversation.add_generation_prompt = false; },
          "With --chat: end behind the message, not where the answer begins")
      ->needs(chat);
  command
      ->add_flag_callback(
          "--parse-special", [flags] { flags->conversation.parse_special_in_content = true; },
          "With --chat: special tokens written out in messages are taken as such")
      ->needs(chat);
  command->add_option("--model", flags->tokenize.model, "The model, where the server has several");
  command->add_flag("--json", flags->json, "Print JSON");
  command->callback([flags, &context] {
    flags->detokenize.model = flags->tokenize.model;
    context.action = [flags, &context] { return Run(*flags, context); };
  });
}

}  // namespace tessera::client
