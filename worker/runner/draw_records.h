// What the rank that draws tells the others after a step.
#ifndef TESSERA_WORKER_RUNNER_DRAW_RECORDS_H_
#define TESSERA_WORKER_RUNNER_DRAW_RECORDS_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "worker/runner/sequences.h"

namespace tessera::worker {

// Records of the work that needs logits as words. Their number is a function of what every rank
// knows before the step, so that a receiver knows what comes. `most_drafts`: in a record.
size_t NumWords(const std::vector<SequenceWork>& work, uint32_t most_drafts);
std::vector<uint32_t> Pack(const std::vector<SequenceWork>& work,
                           const std::vector<DrawRecord>& records, uint32_t most_drafts);
// INTERNAL where the words cannot be records of this work.
absl::Status Unpack(absl::Span<const uint32_t> words, const std::vector<SequenceWork>& work,
                    uint32_t most_drafts, std::vector<DrawRecord>* records);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_RUNNER_DRAW_RECORDS_H_
