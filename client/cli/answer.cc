#include "client/cli/answer.h"

#include <ostream>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/exit_code.h"
#include "client/cli/interrupt.h"
#include "client/cli/json.h"
#include "client/cli/terminal.h"

namespace tessera::client {
namespace {

// A model may write anything: what would steer a terminal does not reach one.
std::string ForTerminal(std::string_view text) {
  std::string out;
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7f) {
      out += "\xef\xbf\xbd";
    } else {
      out += c;
    }
  }
  return out;
}

void PrintLogprobs(std::string_view title, const std::vector<TokenLogprobs>& tokens,
                   std::ostream& out) {
  if (tokens.empty()) return;
  out << title << "\n";
  for (const TokenLogprobs& token : tokens) {
    out << absl::StrFormat(
        "%8d  %10s  \"%s\"", token.token_id,
        token.logprob ? absl::StrFormat("%.6f", *token.logprob) : std::string("-"),
        Escaped(token.token_bytes));
    for (const TopLogprob& top : token.top) {
      out << absl::StrFormat("  %d %.6f \"%s\"", top.token_id, top.logprob,
                             Escaped(top.token_bytes));
    }
    out << "\n";
  }
}

void PrintSummary(const Sequence& sequence, const Context& context) {
  if (!context.io.out_is_terminal || !context.io.err_is_terminal) return;
  const Usage& usage = sequence.finished.usage;
  context.io.err << Styled(absl::StrCat("[", std::string(ToString(sequence.finished.reason)), "; ",
                                        usage.prompt_tokens, " tokens in, ",
                                        usage.completion_tokens, " out]"),
                           Style::kDim, context.use_color())
                 << std::endl;
}

// Where there are several answers they do not come one after another: each is shown when all are
// there.
void PrintOneOfSeveral(size_t i, const Sequence& sequence, const Context& context) {
  std::ostream& out = context.io.out;
  out << (i == 0 ? "" : "\n") << "answer " << i + 1 << ":\n"
      << (context.io.out_is_terminal ? ForTerminal(sequence.text) : sequence.text);
  if (!sequence.text.ends_with('\n')) out << "\n";
}

void PrintDetails(const Completion& completion, const Context& context,
                  const AnswerOptions& options) {
  std::ostream& out = context.io.out;
  PrintLogprobs("prompt logprobs:", completion.accepted.prompt_logprobs, out);
  const bool several = completion.sequences.size() > 1;
  for (size_t i = 0; i < completion.sequences.size(); ++i) {
    const Sequence& sequence = completion.sequences[i];
    if (several) PrintOneOfSeveral(i, sequence, context);
    PrintLogprobs("logprobs:", sequence.logprobs, out);
    if (options.show_token_ids) {
      out << "prompt token ids: " << absl::StrJoin(completion.accepted.prompt_token_ids, ",")
          << "\ntoken ids: " << absl::StrJoin(sequence.token_ids, ",") << "\n";
    }
  }
  out.flush();
  if (!completion.sequences.empty()) PrintSummary(completion.sequences[0], context);
}

}  // namespace

Answer ShowStream(Stream<GenerateEvent>& stream, const Context& context, bool print_text) {
  Answer answer;
  Interrupt interrupt([&stream] { stream.Cancel(); });
  std::ostream& out = context.io.out;
  char last = '\n';
  while (true) {
    auto event = stream.Next();
    if (!event.ok()) answer.status = event.status();
    if (!event.ok() || !event->has_value()) break;
    const auto* delta = std::get_if<Delta>(&(*event)->event);
    if (print_text && delta != nullptr && delta->index == 0 && !delta->text.empty()) {
      last = delta->text.back();
      out << (context.io.out_is_terminal ? ForTerminal(delta->text) : delta->text) << std::flush;
    }
    answer.status = Append(**std::move(event), answer.completion);
    if (!answer.status.ok()) break;
  }
  answer.interrupted = interrupt.happened();
  if (print_text && last != '\n') out << std::endl;
  return answer;
}

int ShowAnswer(Stream<GenerateEvent>& stream, const Context& context,
               const AnswerOptions& options) {
  Answer answer = ShowStream(stream, context, !options.json && !options.several);
  if (answer.interrupted) return kExitInterrupted;
  if (!answer.status.ok()) return context.Fail(answer.status);
  if (options.json) {
    context.io.out << Pretty(ToJson(answer.completion)) << std::endl;
  } else {
    PrintDetails(answer.completion, context, options);
  }
  return kExitOk;
}

}  // namespace tessera::client
