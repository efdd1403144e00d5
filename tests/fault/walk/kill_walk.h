// Streams of many kinds under a server whose workers are killed and stopped at random.
#ifndef TESSERA_TESTS_FAULT_WALK_KILL_WALK_H_
#define TESSERA_TESTS_FAULT_WALK_KILL_WALK_H_

#include <cstdint>
#include <string>
#include <vector>

#include "tests/integration/server/api.h"

namespace tessera::tests {

struct WalkOptions {
  std::vector<std::string> layout;  // flags of the server
  int losses = 0;                   // that the walk causes
  int streams = 32;
  bool stops = true;    // SIGSTOP too, not only SIGKILL
  bool at_once = true;  // now and then again before anything has been gained since the last one
  uint64_t seed = 1;
};

// Asks every question undisturbed; then again and again, until so many times workers were killed or
// stopped (one or all, in prefill, in decode, while the group is being made). Checks that every
// stream ended with the tokens, text, logprobs and usage of the undisturbed one, and that the
// server has lost nothing by it; returns its last status. Prints the longest time that a stream
// stood still: under a second where workers are killed. What is checked of it is a hang limit, for
// machines that are busy.
v1::ServerStatus WalkAndCheck(const WalkOptions& options);

}  // namespace tessera::tests

#endif  // TESSERA_TESTS_FAULT_WALK_KILL_WALK_H_
