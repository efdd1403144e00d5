// What a session commands: one rank of a group, from loading to steps.
#ifndef TESSERA_WORKER_APP_RANK_H_
#define TESSERA_WORKER_APP_RANK_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "internal/v1/worker.pb.h"
#include "worker/comm/key_value_store.h"

namespace tessera::worker {

// Bytes of the checkpoint read so far, and of all that this rank reads.
using LoadProgressFunction = std::function<void(uint64_t done, uint64_t total)>;

// One life of a rank: made for a session, gone with it. Called from one thread at a time, in the
// order of the declarations; Progress and Abort come from any thread.
class Rank {
 public:
  virtual ~Rank() = default;
  virtual internal::v1::Description Describe() = 0;
  virtual absl::StatusOr<internal::v1::Loaded> Load(const internal::v1::Load& load,
                                                    const LoadProgressFunction& progress) = 0;
  // Joins the group. `store` is used only within the call.
  virtual absl::Status Connect(const internal::v1::Connect& connect, KeyValueStore* store) = 0;
  // The answers that are complete then, in the order of the steps; this one's may come later.
  virtual absl::StatusOr<std::vector<internal::v1::StepResult>> Run(
      const internal::v1::Step& step) = 0;
  // Whether a step that was run is not answered yet.
  virtual bool Open() const = 0;
  // Waits for everything that open steps need, and answers them.
  virtual absl::StatusOr<std::vector<internal::v1::StepResult>> Settle() = 0;
  // Grows with every layer done.
  virtual uint64_t Progress() const = 0;
  // Ends what is under way, soon, with `why`; what follows fails.
  virtual void Abort(absl::Status why) = 0;
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_APP_RANK_H_
