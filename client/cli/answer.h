// Shows an answer while it comes.
#ifndef TESSERA_CLIENT_CLI_ANSWER_H_
#define TESSERA_CLIENT_CLI_ANSWER_H_

#include "absl/status/status.h"
#include "client/cli/context.h"
#include "client/lib/collect.h"
#include "client/lib/stream.h"

namespace tessera::client {

struct AnswerOptions {
  bool json = false;            // one object at the end instead of text
  bool show_token_ids = false;  // after the text
  bool several = false;         // answers are asked for: they are shown when all are there
};

struct Answer {
  absl::Status status;       // of the stream
  bool interrupted = false;  // by Ctrl-C; `completion` holds what came before
  Completion completion;
};

// Reads `stream` to its end and prints the text of the first sequence as it comes. Ctrl-C cancels
// the stream. Errors are left to the caller.
Answer ShowStream(Stream<GenerateEvent>& stream, const Context& context, bool print_text);

// The whole of a one-shot command: prints what `options` ask for, and returns the exit
// code.
int ShowAnswer(Stream<GenerateEvent>& stream, const Context& context, const AnswerOptions& options);

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_CLI_ANSWER_H_
