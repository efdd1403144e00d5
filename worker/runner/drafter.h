// Guesses of the ids that a sequence will draw next. They are compared with what is drawn, so a
// wrong one costs time and changes nothing.
#ifndef TESSERA_WORKER_RUNNER_DRAFTER_H_
#define TESSERA_WORKER_RUNNER_DRAFTER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "worker/runner/sequences.h"

namespace tessera::worker {

struct DraftRequest {
  Sequence* sequence = nullptr;  // changed while Propose runs; afterwards as it was
  uint32_t count = 0;            // ids that are wanted, at least one
  std::vector<uint32_t> ids;     // the guess: `count` of them, or fewer
};

// Of the rank that draws; thread-compatible.
class Drafter {
 public:
  virtual ~Drafter() = default;
  // Fills `ids` of every request. Errors are those of a device.
  virtual absl::Status Propose(absl::Span<DraftRequest> requests) = 0;
  // What a step does to the KV cache, before its entries are run: blocks that `starts` and
  // `entries` grant hold nothing of use, and `copies` are made.
  virtual void Follow(const StepInput& step) = 0;
};

// Prompt lookup (Saxena, 2023): what followed the latest earlier occurrence of the sequence's last
// ids, of the longest run of `most` to `least` of them that has one. Reads at most the last
// kLookupWindow ids.
class NgramDrafter final : public Drafter {
 public:
  static constexpr size_t kLookupWindow = 8192;

  NgramDrafter(uint32_t least, uint32_t most) : least_(least), most_(most) {}

  absl::Status Propose(absl::Span<DraftRequest> requests) override;
  void Follow(const StepInput&) override {}

 private:
  const uint32_t least_;
  const uint32_t most_;
};

// How many ids are worth guessing, from how the last guesses went: all, after one that was right to
// its end; one more than was right, after another. After several that were wrong at once none for a
// while, ever longer.
class DraftLength {
 public:
  explicit DraftLength(uint32_t most) : most_(most), length_(most) {}

  // Of the next step.
  uint32_t Next();
  // `accepted` of `proposed` ids were right. `proposed` 0 says nothing.
  void Report(uint32_t proposed, uint32_t accepted);

 private:
  uint32_t most_;
  uint32_t length_;
  uint32_t misses_ = 0;  // in a row
  uint32_t rest_ = 0;    // steps without a guess
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_RUNNER_DRAFTER_H_
