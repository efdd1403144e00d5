#include "server/engine/engine_condition.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace tessera::server {
namespace {

size_t Count(const std::vector<EngineCondition>& replicas, EngineState state) {
  return static_cast<size_t>(
      std::count_if(replicas.begin(), replicas.end(),
                    [state](const EngineCondition& replica) { return replica.state == state; }));
}

EngineState StateOf(const std::vector<EngineCondition>& replicas, bool were_ready, bool draining) {
  const bool never_made =
      std::any_of(replicas.begin(), replicas.end(), [](const EngineCondition& replica) {
        return replica.state == EngineState::kFailed && !replica.was_ready;
      });
  if (never_made || Count(replicas, EngineState::kFailed) == replicas.size()) {
    return EngineState::kFailed;
  }
  if (draining) return EngineState::kDraining;
  const size_t ready = Count(replicas, EngineState::kReady);
  if (ready == replicas.size() || (were_ready && ready > 0)) return EngineState::kReady;
  return were_ready ? EngineState::kRecovering : EngineState::kStarting;
}

}  // namespace

EngineCondition Together(const std::vector<EngineCondition>& replicas, bool draining) {
  EngineCondition all;
  all.was_ready = std::all_of(replicas.begin(), replicas.end(),
                              [](const EngineCondition& replica) { return replica.was_ready; });
  all.state = StateOf(replicas, all.was_ready, draining);
  for (size_t i = 0; i < replicas.size(); ++i) {
    if (replicas[i].state == EngineState::kReady || replicas[i].why.empty()) continue;
    if (!all.why.empty()) all.why += "; ";
    if (replicas.size() > 1) absl::StrAppend(&all.why, "replica ", i, ": ");
    all.why += replicas[i].why;
  }
  return all;
}

}  // namespace tessera::server
