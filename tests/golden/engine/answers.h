// Whole answers of the engine over real runners, to be compared bit for bit.
#ifndef TESSERA_TESTS_GOLDEN_ENGINE_ANSWERS_H_
#define TESSERA_TESTS_GOLDEN_ENGINE_ANSWERS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "server/engine/request.h"
#include "tests/golden/model/group.h"

namespace tessera::tests {

// How a set of requests is served. The answers may depend on none of it.
struct Serving {
  GroupOptions group;
  int replicas = 1;  // request i goes to number i % replicas
  bool prefix_cache = true;
  size_t at_a_time = 1000;  // so many requests live at once
  uint64_t order_seed = 0;  // 0: in their order; else shuffled
  // So many steps apart a group dies, one replica's after the other's; 0: never. Its requests go on
  // on the next one, or on the new group.
  int steps_to_loss = 0;
  std::string ToString() const;
};

struct Served {
  std::vector<std::string> answers;  // by request: ids, bits of all logprobs, and the end
  uint64_t cached_tokens = 0;        // of all prompts
  uint64_t computed_tokens = 0;      // rows of all steps
  uint64_t fetched_tokens = 0;       // of them and of replayed logs, from slots
  uint64_t spilled_blocks = 0;
  uint64_t preemptions = 0;
  uint64_t steps = 0;
  uint64_t losses = 0;
  uint64_t moves = 0;  // of requests, to another replica
};

Served Serve(const std::string& checkpoint, const std::vector<server::Request>& requests,
             const Serving& serving);

// Greedy and seeded ones with logprobs, of many lengths, every second one beginning like another.
std::vector<server::Request> MixedRequests(size_t count);

// Each twice, so that the second one finds what the first has left.
std::vector<server::Request> Twice(std::vector<server::Request> requests);

}  // namespace tessera::tests

#endif  // TESSERA_TESTS_GOLDEN_ENGINE_ANSWERS_H_
