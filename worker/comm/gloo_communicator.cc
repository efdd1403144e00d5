#include "worker/comm/gloo_communicator.h"

#include <chrono>
#include <memory>
#include <utility>

#include "shard_loader/status_macros.h"
#include "worker/comm/gloo_links.h"
#include "worker/comm/gloo_pairs.h"
#include "worker/comm/mesh_communicator.h"

namespace tessera::worker {

bool HasGloo() { return true; }

absl::StatusOr<GroupComms> ConnectGloo(const GlooOptions& options) {
  const auto deadline =
      std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(options.timeout);
  ASSIGN_OR_RETURN(std::unique_ptr<GlooPairs> pairs, GlooPairs::Connect(options));
  auto links = std::make_unique<GlooLinks>(std::move(pairs), options.rank);
  RETURN_IF_ERROR(links->Greet(options.tp, deadline));
  return MakeMeshComms(std::move(links), options.tp, options.timeout);
}

}  // namespace tessera::worker
