#include "proto/rpc/deadline.h"

namespace tessera::rpc {
namespace {
// Far beyond any real deadline, and inside the range of every clock type on the way.
constexpr std::chrono::hours kForever{24 * 365 * 100};
}  // namespace

absl::Time FromGrpcDeadline(std::chrono::system_clock::time_point deadline) {
  if (deadline > std::chrono::system_clock::now() + kForever) return absl::InfiniteFuture();
  return absl::FromChrono(deadline);
}

std::chrono::system_clock::time_point ToGrpcDeadline(absl::Time deadline) {
  if (deadline == absl::InfiniteFuture()) return std::chrono::system_clock::time_point::max();
  return absl::ToChronoTime(deadline);
}

}  // namespace tessera::rpc
