#include "worker/runner/draw_records.h"

#include <algorithm>

namespace tessera::worker {
namespace {

// A record: outcome, number of ids, number of drafts, room for the most ids, room for the most
// drafts.
constexpr size_t kHeaderWords = 3;

size_t WordsOf(const SequenceWork& work, uint32_t most_drafts) {
  if (!work.needs_logits()) return 0;
  return kHeaderWords + (work.draws ? 1 + work.num_drafts + most_drafts : 0);
}

}  // namespace

size_t NumWords(const std::vector<SequenceWork>& work, uint32_t most_drafts) {
  size_t words = 0;
  for (const SequenceWork& each : work) words += WordsOf(each, most_drafts);
  return words;
}

std::vector<uint32_t> Pack(const std::vector<SequenceWork>& work,
                           const std::vector<DrawRecord>& records, uint32_t most_drafts) {
  std::vector<uint32_t> words(NumWords(work, most_drafts));
  uint32_t* next = words.data();
  for (size_t w = 0; w < work.size(); ++w) {
    if (!work[w].needs_logits()) continue;
    const DrawRecord& record = records[w];
    next[0] = record.outcome;
    next[1] = static_cast<uint32_t>(record.ids.size());
    next[2] = static_cast<uint32_t>(record.drafts.size());
    std::copy(record.ids.begin(), record.ids.end(), next + kHeaderWords);
    std::copy(record.drafts.begin(), record.drafts.end(),
              next + kHeaderWords + 1 + work[w].num_drafts);
    next += WordsOf(work[w], most_drafts);
  }
  return words;
}

absl::Status Unpack(absl::Span<const uint32_t> words, const std::vector<SequenceWork>& work,
                    uint32_t most_drafts, std::vector<DrawRecord>* records) {
  const uint32_t* next = words.data();
  for (size_t w = 0; w < work.size(); ++w) {
    if (!work[w].needs_logits()) continue;
    const uint32_t most_ids = work[w].draws ? 1 + work[w].num_drafts : 0;
    if (next[0] > DrawRecord::kFailed || next[1] > most_ids ||
        next[2] > (work[w].draws ? most_drafts : 0)) {
      return absl::InternalError("worker: the rank that draws sent a record of another step");
    }
    DrawRecord& record = (*records)[w];
    record.outcome = static_cast<DrawRecord::Outcome>(next[0]);
    const uint32_t* ids = next + kHeaderWords;
    record.ids.assign(ids, ids + next[1]);
    record.drafts.assign(ids + most_ids, ids + most_ids + next[2]);
    next += WordsOf(work[w], most_drafts);
  }
  return absl::OkStatus();
}

}  // namespace tessera::worker
