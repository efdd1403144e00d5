// The sequences that a rank knows. Every rank of a group keeps the same table, by the same steps.
#ifndef TESSERA_WORKER_RUNNER_SEQUENCES_H_
#define TESSERA_WORKER_RUNNER_SEQUENCES_H_

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/runner/step.h"

namespace tessera::worker {

inline constexpr uint32_t kUnknownId = 0xffffffff;  // the place of a token that is not known yet

struct Sequence {
  SequenceStart start;    // its token_ids grow with what is drawn
  uint32_t computed = 0;  // tokens whose keys and values are in the cache
  std::vector<uint32_t> blocks;
  std::vector<uint32_t> drafts;  // guesses of the ids that follow; the same on every rank
  Finish finish = Finish::kRunning;

  uint32_t known() const { return static_cast<uint32_t>(start.token_ids.size()); }
  uint32_t generated() const { return known() - start.prompt_length; }
};

// Whether `id` ends the sequence.
bool IsStop(const Sequence& sequence, uint32_t id);

// Ids that are ranked by their raw logits for a token of it, where its candidates are too.
uint32_t MostRanked(const SequenceStart& start);
// Of a sequence without restrictions: `token->top` has MostRanked ids, which are its alternatives
// and its candidates in one.
void ShareRanked(const SequenceStart& start, Token* token);

struct SequenceLimits {
  uint32_t vocab_size = 0;
  uint32_t block_tokens = 0;
  uint32_t num_kv_blocks = 0;
  uint32_t num_kv_slots = 0;
  uint32_t max_model_len = 0;
  uint32_t max_num_batched_tokens = 0;
  uint32_t max_num_seqs = 0;
  uint32_t max_logprobs = 0;
};

// What a step computes of one sequence: its known tokens [begin, end), and where a token follows
// from the last of them, its first `num_drafts` drafts behind them.
struct SequenceWork {
  Sequence* sequence = nullptr;
  uint32_t begin = 0;
  uint32_t end = 0;
  bool draws = false;       // a token follows from the last of them
  uint32_t num_drafts = 0;  // only where it draws
  uint32_t max_ids = 1;     // as the step says

  // Logits of position p tell of the prompt's token at p + 1: those in [begin, prompt_rows_end()).
  uint32_t prompt_rows_end() const;
  bool needs_logits() const { return draws || prompt_rows_end() > begin; }
};

// What became of one piece of work that needed logits.
struct DrawRecord {
  enum Outcome : uint32_t { kNothing = 0, kDrawn = 1, kFailed = 2 };
  Outcome outcome = kNothing;
  std::vector<uint32_t> ids;     // of kDrawn: at least one
  std::vector<uint32_t> drafts;  // of the ids that may follow them
};

// Thread-compatible.
class SequenceTable {
 public:
  explicit SequenceTable(const SequenceLimits& limits) : limits_(limits) {}

  // Takes in the step's ends, starts and blocks, and returns its work in the order of the entries,
  // without those of sequences that have ended. INTERNAL, with nothing changed, where the step
  // contradicts what is known. The work is valid until the next call.
  absl::StatusOr<std::vector<SequenceWork>> Begin(const StepInput& step);

  // The tokens of `work` are in the cache; `record` says what was drawn. Ends the sequence where a
  // stop id, max_tokens or the context says so.
  void Advance(const SequenceWork& work, const DrawRecord& record);

  // For a token that is drawn and not known yet: the sequence goes on behind a place for it, and
  // ends where the number of its tokens says so. Each is resolved, in order, before Advance is
  // called for the sequence again.
  void AdvanceAhead(const SequenceWork& work);
  // `record` says what was drawn for the token at `position`; where the sequence ends with it, what
  // was taken to follow is forgotten.
  void Resolve(Sequence* sequence, uint32_t position, const DrawRecord& record);

  // Ids that may still be added to the sequence.
  uint32_t RoomToDraw(const Sequence& sequence) const;

  size_t size() const { return sequences_.size(); }
  // Null where it is not known.
  const Sequence* Find(uint64_t sequence) const {
    const auto it = sequences_.find(sequence);
    return it == sequences_.end() ? nullptr : &it->second;
  }

 private:
  absl::Status Check(const StepInput& step) const;
  absl::Status CheckBlocks(uint64_t sequence, const std::vector<uint32_t>& blocks) const;
  absl::Status CheckStart(const SequenceStart& start) const;
  absl::Status CheckRestrictions(const SequenceStart& start) const;
  // `known`, `computed` and `blocks` are those of the sequence before the step.
  absl::Status CheckEntry(const SequenceStep& entry, const Sequence& sequence) const;
  // Without its `sequence`, which is as it was before the step.
  SequenceWork WorkOf(const SequenceStep& entry, const Sequence& sequence) const;

  const SequenceLimits limits_;
  std::unordered_map<uint64_t, Sequence> sequences_;
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_RUNNER_SEQUENCES_H_
