#include "worker/comm/gloo_communicator.h"

#include <chrono>
#include <memory>
#include <utility>

#include "shard_loader/status_macros.h"
#include "worker/comm/gloo_links.h"
#include "worker/comm/gloo_pairs.h"
#include "worker/comm/mesh_communicator.h"

namespace tessera::worker {

namespace {

absl::StatusOr<GroupComms> Join(const GlooOptions& options) {
  const auto deadline =
      std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(options.timeout);
  ASSIGN_OR_RETURN(std::unique_ptr<GlooPairs> pairs, GlooPairs::Connect(options));
  auto links = std::make_unique<GlooLinks>(std::move(pairs), options.rank);
  {
    Interrupter::Scope scope(options.interrupter, [&links](const absl::Status& why) {
      links->Close(why);
      links->Wake();
    });
    RETURN_IF_ERROR(links->Greet(options.tp, deadline));
  }
  return MakeMeshComms(std::move(links), options.tp, options.timeout);
}

}  // namespace

bool HasGloo() { return true; }

absl::StatusOr<GroupComms> ConnectGloo(const GlooOptions& options) {
  absl::StatusOr<GroupComms> comms = Join(options);
  if (comms.ok() || options.interrupter == nullptr) return comms;
  // What it ended failed for that reason.
  RETURN_IF_ERROR(options.interrupter->interrupted());
  return comms;
}

}  // namespace tessera::worker
