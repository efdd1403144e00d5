// The rank that draws, where a device holds the logits: they stay there, and only tokens and
// logprobs come to the host.
#ifndef TESSERA_WORKER_RUNNER_DEVICE_SAMPLER_H_
#define TESSERA_WORKER_RUNNER_DEVICE_SAMPLER_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "worker/backend/drawer.h"
#include "worker/runner/host_side.h"
#include "worker/runner/sequences.h"
#include "worker/runner/step.h"
#include "worker/runner/step_sampler.h"
#include "worker/sampling/sampler.h"

namespace tessera::worker {

// What `draw` has of a context; `forbidden` is where it points to. Both outlive it.
void AskDraw(const DrawContext& context, int64_t vocab_size, std::vector<uint32_t>* forbidden,
             DrawRow* draw);

// A row of the logits: what it is of.
struct LogitRow {
  size_t work = 0;
  uint32_t position = 0;
};

// Thread-compatible.
class DeviceSampler {
 public:
  // All borrowed. `host` draws what a device does not, from logits that are brought to it: rows
  // with typical_p, with more than kMaxDrawerTop ranked ids, or of a beam with restrictions.
  DeviceSampler(Drawer* drawer, HostSide* side, StepSampler* host, int64_t vocab_size,
                int64_t vocab_block)
      : drawer_(drawer),
        side_(side),
        host_(host),
        vocab_size_(vocab_size),
        vocab_block_(vocab_block) {}

  // StepSampler::Row for each row of `logits`, the device's [rows, vocab]. Rows of drafts are drawn
  // as if the drafts before them were right, and dropped where they are not. Errors are the
  // device's.
  absl::Status Rows(const float* logits, absl::Span<const LogitRow> rows,
                    const std::vector<SequenceWork>& work, std::vector<SequenceResult>* results,
                    std::vector<DrawRecord>* records);

  // The same in two parts, for rows of sequences that CanDraw: both leave the sequences' ids alone.
  // The second is of the oldest first that has not been finished.
  static bool CanDraw(const SequenceStart& start);
  absl::Status Start(const float* logits, absl::Span<const LogitRow> rows,
                     const std::vector<SequenceWork>& work);
  absl::Status Finish(absl::Span<const LogitRow> rows, const std::vector<SequenceWork>& work,
                      std::vector<SequenceResult>* results, std::vector<DrawRecord>* records);

 private:
  // A row that the device draws, with what it points to.
  struct Asked {
    size_t row = 0;
    std::vector<uint32_t> ids;  // of a row of drafts: the sequence's and the drafts before it
    std::vector<uint32_t> forbidden;
  };

  DrawRow Ask(const SequenceWork& work, const LogitRow& row, Asked* asked) const;
  // Starts the draws of the rows that are not the host's, if there are any, and says which.
  // `records`: what rows before these have drawn, by work; or null, where there are none.
  absl::Status StartAsked(const float* logits, absl::Span<const LogitRow> rows,
                          const std::vector<SequenceWork>& work,
                          const std::vector<DrawRecord>* records, std::deque<Asked>* asked);

  Drawer* const drawer_;
  HostSide* const side_;
  StepSampler* const host_;
  const int64_t vocab_size_;
  const int64_t vocab_block_;
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_RUNNER_DEVICE_SAMPLER_H_
