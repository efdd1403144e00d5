// From a row of logits to the next token, by rule 6 of worker/README.md.
#ifndef TESSERA_WORKER_SAMPLING_SAMPLER_H_
#define TESSERA_WORKER_SAMPLING_SAMPLER_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "worker/backend/backend.h"
#include "worker/sampling/candidates.h"
#include "worker/sampling/params.h"
#include "worker/sampling/restrictions.h"

namespace tessera::worker {

// DATA_LOSS: a row that has no log-sum-exp. FAILED_PRECONDITION: one from which nothing may be
// drawn.
absl::Status NotFiniteError();
absl::Status NothingToDrawError();

// Everything that a draw depends on beside the logits.
struct DrawContext {
  absl::Span<const uint32_t> ids;  // of the sequence so far: the prompt, then what was generated
  int64_t prompt_length = 0;
  uint32_t sequence_index = 0;
  absl::Span<const uint32_t> masked_ids;       // not to be drawn: the stop ids, before min_tokens
  const Restrictions* restrictions = nullptr;  // borrowed; null: none
  SamplingParams params;
};

struct RankedId {
  uint32_t id = 0;
  float logprob = 0;
};

// Of raw logits, in natural logarithms.
struct Logprobs {
  float chosen = 0;
  std::vector<RankedId> top;  // descending; ties by the lower id
};

// Thread-compatible: one row at a time.
class Sampler {
 public:
  // `scratch`: shard_loader::kSamplingBytesPerId bytes for each id, aligned to 64; borrowed, like
  // the backend. `vocab_block`: ids per block of the log-sum-exp (RankPlan).
  Sampler(Backend* backend, int64_t vocab_size, int64_t vocab_block, absl::Span<std::byte> scratch);

  // The logarithm of the sum of the exponentials of the logits [vocab]: blocks are reduced alone
  // and merged in ascending order. DATA_LOSS where a logit is NaN or +infinity, or all are
  // -infinity.
  absl::StatusOr<double> LogSumExp(const float* logits);

  // Of `id`, and of the `top` highest logits. `log_sum_exp` is that of the same logits.
  Logprobs LogprobsOf(const float* logits, double log_sum_exp, uint32_t id, int64_t top);

  // Logits that LogSumExp accepts. FAILED_PRECONDITION where nothing may be drawn.
  absl::StatusOr<uint32_t> Draw(const float* logits, const DrawContext& context);

  // What a beam may go on with: of the ids that Draw could take, the `count` whose logits stand
  // highest after bias and penalties, at least one. Their logprobs are of the raw logits.
  absl::StatusOr<std::vector<RankedId>> Candidates(const float* logits, double log_sum_exp,
                                                   const DrawContext& context, int64_t count);

 private:
  // values_: the logits after restrictions, masks, biases and penalties.
  void Adjust(const float* logits, const DrawContext& context);
  void Penalize(const DrawContext& context);
  // The `count` highest of `values` [vocab], descending, ties by the lower id; as `logprob`, what
  // was compared.
  std::vector<RankedId> Ranked(const float* values, int64_t count) const;
  absl::StatusOr<float> Highest(uint32_t* id) const;
  // exponentials_ and the blocks' maxima and sums, of `input`.
  void Exponentials(const float* input, bool keep);
  uint32_t WalkAll(double uniform) const;
  uint32_t WalkFiltered(const SamplingParams& params, double uniform);

  Backend* const backend_;
  const int64_t vocab_size_;
  const int64_t vocab_block_;
  // Scratch, [vocab] each.
  float* values_;        // logits after what was done to them
  float* exponentials_;  // of values_, against the maximum of their block
  uint32_t* counts_;     // of generated ids; zero between draws
  Candidate* candidates_;
  std::vector<float> maxima_;  // [blocks]
  std::vector<float> sums_;    // [blocks]
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_SAMPLING_SAMPLER_H_
