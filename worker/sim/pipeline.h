// When the stages of a simulated group are busy. Pure arithmetic.
#ifndef TESSERA_WORKER_SIM_PIPELINE_H_
#define TESSERA_WORKER_SIM_PIPELINE_H_

#include <cstddef>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"

namespace tessera::worker {

// Since the group's begin.
struct Busy {
  absl::Duration begin;
  absl::Duration end;
  friend bool operator==(const Busy&, const Busy&) = default;
};

// Every stage is first-in-first-out and does one step at a time; it begins a step when the stage
// before has ended it. Thread-compatible.
class Pipeline {
 public:
  explicit Pipeline(size_t num_stages) : free_at_(num_stages) {}

  // Takes a step that stage 0 may begin at `earliest` and that keeps stage s busy for `costs[s]`.
  std::vector<Busy> Add(absl::Duration earliest, absl::Span<const absl::Duration> costs);

 private:
  std::vector<absl::Duration> free_at_;
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_SIM_PIPELINE_H_
