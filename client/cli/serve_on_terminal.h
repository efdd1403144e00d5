// A server with a progress bar below its output, for a person at a terminal.
#ifndef TESSERA_CLIENT_CLI_SERVE_ON_TERMINAL_H_
#define TESSERA_CLIENT_CLI_SERVE_ON_TERMINAL_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/context.h"

namespace tessera::client {

// Runs argv[0] as a child until it ends, hands on its output, and shows how much of the model is
// loaded once the child has said where it listens. Signals go to the child, which ends with this
// process. Returns the child's exit code, 128 + N where signal N ended it.
absl::StatusOr<int> ServeOnTerminal(const std::vector<std::string>& argv, const Context& context);

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_CLI_SERVE_ON_TERMINAL_H_
