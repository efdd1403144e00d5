#include <algorithm>

#include "client/lib/response.h"
#include "client/lib/server_status.h"

namespace tessera::client {

std::string_view ToString(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kUnspecified:
      break;
  }
  return "unspecified";
}

std::string_view ToString(ServerState state) {
  switch (state) {
    case ServerState::kStarting:
      return "starting";
    case ServerState::kLoading:
      return "loading";
    case ServerState::kReady:
      return "ready";
    case ServerState::kRecovering:
      return "recovering";
    case ServerState::kDraining:
      return "draining";
    case ServerState::kFailed:
      return "failed";
    case ServerState::kUnspecified:
      break;
  }
  return "unspecified";
}

double LoadFraction(const ServerStatus& status) {
  double loaded = 0.0;
  double ranks = 0.0;
  for (const GroupStatus& group : status.groups) {
    for (const RankStatus& rank : group.ranks) {
      loaded += std::clamp(rank.load_fraction, 0.0, 1.0);
      ranks += 1.0;
    }
  }
  return ranks > 0.0 ? loaded / ranks : 0.0;
}

}  // namespace tessera::client
