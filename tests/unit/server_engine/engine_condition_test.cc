#include "server/engine/engine_condition.h"

#include <catch2/catch.hpp>

namespace tessera::server {
namespace {

const EngineCondition kStarts = {};
const EngineCondition kIsReady = {EngineState::kReady, true, ""};
const EngineCondition kIsAway = {EngineState::kRecovering, true, "rank 0: killed"};
const EngineCondition kNeverMade = {EngineState::kFailed, false, "no memory"};

EngineState StateOf(const std::vector<EngineCondition>& replicas, bool draining = false) {
  return Together(replicas, draining).state;
}

TEST_CASE("replicas are ready once all have been, and as long as one is") {
  CHECK(StateOf({kStarts, kStarts}) == EngineState::kStarting);
  CHECK(StateOf({kIsReady, kStarts}) == EngineState::kStarting);
  CHECK(StateOf({kIsAway, kStarts}) == EngineState::kStarting);
  CHECK(StateOf({kIsReady, kIsReady}) == EngineState::kReady);
  CHECK(StateOf({kIsReady, kIsAway}) == EngineState::kReady);
  CHECK(StateOf({kIsAway, kIsAway}) == EngineState::kRecovering);
}

TEST_CASE("a replica that can never be made fails all, and draining hides everything else") {
  CHECK(StateOf({kIsReady, kNeverMade}) == EngineState::kFailed);
  CHECK(StateOf({kIsReady, kIsAway}, true) == EngineState::kDraining);
  CHECK(StateOf({kIsReady, kNeverMade}, true) == EngineState::kFailed);
}

TEST_CASE("why a replica is away is told with its number, where there are others") {
  CHECK(Together({kIsReady, kIsAway}, false).why == "replica 1: rank 0: killed");
  CHECK(Together({kIsAway, kIsAway}, false).why ==
        "replica 0: rank 0: killed; replica 1: rank 0: killed");
  CHECK(Together({kIsAway}, false).why == "rank 0: killed");
  CHECK(Together({kIsReady, kStarts}, false).why.empty());
}

}  // namespace
}  // namespace tessera::server
