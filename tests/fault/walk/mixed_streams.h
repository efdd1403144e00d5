// Streams of every kind of sampling, stop and output, whose answers are known.
#ifndef TESSERA_TESTS_FAULT_WALK_MIXED_STREAMS_H_
#define TESSERA_TESTS_FAULT_WALK_MIXED_STREAMS_H_

#include <chrono>
#include <functional>
#include <vector>

#include "tests/integration/server/api.h"

namespace tessera::tests {

using Clock = std::chrono::steady_clock;

struct Timed {
  Replies replies;
  grpc::Status status;
  // When something was told, from the first token on: the way to that one is a wait in the queue as
  // well, and beams are told at their end.
  std::vector<Clock::time_point> told;
};

// Between two things that a stream was told.
struct Pause {
  Clock::time_point begin;
  Clock::time_point end;
};
std::vector<Pause> PausesOf(const std::vector<Timed>& answers);
double Milliseconds(Clock::duration duration);

// Until the server has drawn `count` more tokens.
void AwaitTokens(Api& api, uint64_t count);

class MixedStreams {
 public:
  // Asks every question once, undisturbed. `api` is borrowed.
  MixedStreams(Api& api, int count);

  // Asks them all at once, each again and again until `disturb` has returned. Checks that every
  // answer ended with the tokens, text, logprobs and usage of the undisturbed one.
  std::vector<Timed> AskDuring(const std::function<void()>& disturb);
  // Awaits that every group is ready, and checks that no request was failed and nothing is held.
  void CheckNothingLost();

 private:
  std::vector<std::vector<Timed>> AskAll(const std::function<bool()>& over,
                                         const std::function<void()>& meanwhile);

  Api& api_;
  std::vector<v1::GenerateRequest> questions_;
  std::vector<Timed> undisturbed_;
};

}  // namespace tessera::tests

#endif  // TESSERA_TESTS_FAULT_WALK_MIXED_STREAMS_H_
