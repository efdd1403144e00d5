// Drawing tokens where the logits lie: rule 6 of worker/README.md, to the bits of worker/sampling's
// Sampler over logits of the same bits.
#ifndef TESSERA_WORKER_BACKEND_DRAWER_H_
#define TESSERA_WORKER_BACKEND_DRAWER_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace tessera::worker {

inline constexpr int kMaxDrawerTop = 64;  // ranked ids of a row

struct IdBias {
  uint32_t id = 0;
  float bias = 0;
};

// What is wanted of one row of logits. Spans are the host's, read before Start returns; their ids
// are those of the vocabulary.
struct DrawRow {
  int64_t row = 0;    // of the logits
  bool draws = true;  // else only logprobs are wanted, of `id`
  uint32_t id = 0;
  int32_t top = 0;  // the highest logits that are reported beside: at most kMaxDrawerTop

  // Where it draws: SamplingParams without typical_p, and DrawContext.
  float temperature = 1.0f;
  int32_t top_k = 0;
  float top_p = 1.0f;
  float min_p = 0.0f;
  float repetition_penalty = 1.0f;
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  uint64_t seed = 0;
  uint32_t sequence_index = 0;
  absl::Span<const uint32_t> ids;  // of the sequence so far
  int64_t prompt_length = 0;
  absl::Span<const uint32_t> allowed;    // empty: all
  absl::Span<const uint32_t> forbidden;  // as they come, maybe twice
  absl::Span<const IdBias> biases;       // each id once
};

struct DrawnRow {
  enum class Outcome {
    kDrawn,
    kNotFinite,      // the logits are no finite numbers
    kNothingToDraw,  // every id is forbidden
  };
  struct Ranked {
    uint32_t id = 0;
    float logprob = 0;
  };

  Outcome outcome = Outcome::kDrawn;
  uint32_t id = 0;
  float logprob = 0;
  std::vector<Ranked> top;  // descending; ties by the lower id
};

struct DrawArgs {
  const float* logits = nullptr;  // [num_rows, vocab_size]
  int64_t num_rows = 0;
  int64_t vocab_size = 0;
  int64_t vocab_block = 0;  // ids per block of the log-sum-exp (RankPlan)
};

// Thread-compatible; belongs to a backend.
class Drawer {
 public:
  virtual ~Drawer() = default;
  // Begins; the logits may be written anew by what is asked of the backend after it. At most two
  // are under way. Until the next one, ids of EmbedRows may name what it draws (DrawnId).
  virtual absl::Status Start(const DrawArgs& args, absl::Span<const DrawRow> rows) = 0;
  // Waits for the oldest that was started, and not for what was asked of the backend since: its
  // rows, in their order.
  virtual absl::StatusOr<std::vector<DrawnRow>> Collect() = 0;
};

// An id of EmbedRows that the host does not know yet: what was drawn for the `index`-th row of the
// last Start, which drew all its rows together; id 0 where nothing was.
constexpr int64_t DrawnId(int64_t index) { return -1 - index; }

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_BACKEND_DRAWER_H_
