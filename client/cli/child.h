// A program run to its end, its output taken.
#ifndef TESSERA_CLIENT_CLI_CHILD_H_
#define TESSERA_CLIENT_CLI_CHILD_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace tessera::client {

struct ChildResult {
  int exit_code = -1;  // 128 + the signal that ended it
  std::string out;     // its standard output
  std::string err;     // its standard error
};

// Runs argv[0] (a path) without a shell and with an empty standard input. NOT_FOUND where it cannot
// be started; DEADLINE_EXCEEDED, after killing it, where it takes longer than `timeout`.
absl::StatusOr<ChildResult> RunChild(const std::vector<std::string>& argv, absl::Duration timeout);

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_CLI_CHILD_H_
