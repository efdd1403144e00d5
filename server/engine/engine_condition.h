// How a replica is, or all replicas of a server together.
#ifndef TESSERA_SERVER_ENGINE_ENGINE_CONDITION_H_
#define TESSERA_SERVER_ENGINE_ENGINE_CONDITION_H_

#include <string>
#include <vector>

namespace tessera::server {

enum class EngineState { kStarting, kReady, kRecovering, kDraining, kFailed };

struct EngineCondition {
  EngineState state = EngineState::kStarting;
  bool was_ready = false;  // at least once; of several replicas: each of them
  std::string why;  // of kRecovering and kFailed, or which replicas of a ready server are away

  friend bool operator==(const EngineCondition&, const EngineCondition&) = default;
};

// Of the replicas together: failed where one could never be made, or where none is left; ready as
// long as one is, once all of them have been. Draining is the server's own and comes before ready.
EngineCondition Together(const std::vector<EngineCondition>& replicas, bool draining);

}  // namespace tessera::server

#endif  // TESSERA_SERVER_ENGINE_ENGINE_CONDITION_H_
