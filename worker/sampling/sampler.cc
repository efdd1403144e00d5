#include "worker/sampling/sampler.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <limits>

#include "absl/status/status.h"
#include "shard_loader/plan/workspace.h"
#include "shard_loader/status_macros.h"
#include "worker/backend/scalar_math.h"
#include "worker/sampling/philox.h"

namespace tessera::worker {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr uint32_t kDone = 1u << 31;  // in counts_: this id has its penalties

static_assert(shard_loader::kSamplingBytesPerId ==
              2 * sizeof(float) + sizeof(uint32_t) + sizeof(Candidate));

bool Penalizes(const SamplingParams& params) {
  return params.repetition_penalty != 1.0f || params.presence_penalty != 0.0f ||
         params.frequency_penalty != 0.0f;
}

bool Filters(const SamplingParams& params) {
  return params.min_p > 0.0f || params.top_k > 0 || params.top_p < 1.0f || params.typical_p < 1.0f;
}

float LogprobOf(float logit, double log_sum_exp) { return static_cast<float>(logit - log_sum_exp); }

bool RanksBefore(const RankedId& a, const RankedId& b) {
  return a.logprob != b.logprob ? a.logprob > b.logprob : a.id < b.id;
}

}  // namespace

absl::Status NotFiniteError() {
  return absl::DataLossError(
      "worker: the model's logits are not finite numbers; weights may be damaged, or too large for "
      "their dtype");
}

absl::Status NothingToDrawError() {
  return absl::FailedPreconditionError(
      "worker: no token may be drawn: every id is masked or has a logit of -infinity");
}

Sampler::Sampler(Backend* backend, int64_t vocab_size, int64_t vocab_block,
                 absl::Span<std::byte> scratch)
    : backend_(backend), vocab_size_(vocab_size), vocab_block_(vocab_block) {
  assert(static_cast<int64_t>(scratch.size()) >= vocab_size * shard_loader::kSamplingBytesPerId);
  std::byte* next = scratch.data();
  values_ = reinterpret_cast<float*>(next);
  exponentials_ = values_ + vocab_size;
  counts_ = reinterpret_cast<uint32_t*>(exponentials_ + vocab_size);
  candidates_ = reinterpret_cast<Candidate*>(counts_ + vocab_size);
  std::fill(counts_, counts_ + vocab_size, 0u);
  const int64_t blocks = (vocab_size + vocab_block - 1) / vocab_block;
  maxima_.resize(blocks);
  sums_.resize(blocks);
}

void Sampler::Exponentials(const float* input, bool keep) {
  SoftmaxBlocksArgs args;
  args.input = input;
  args.size = vocab_size_;
  args.block = vocab_block_;
  args.maxima = maxima_.data();
  args.sums = sums_.data();
  args.exponentials = keep ? exponentials_ : nullptr;
  backend_->SoftmaxBlocks(args);
}

absl::StatusOr<double> Sampler::LogSumExp(const float* logits) {
  Exponentials(logits, /*keep=*/false);
  double maximum = -std::numeric_limits<double>::infinity();
  double sum = 0;
  for (size_t b = 0; b < sums_.size(); ++b) {
    if (sums_[b] == 0) continue;  // a block of -infinity
    const double next = std::max(maximum, double{maxima_[b]});
    sum = sum * ExactExp(maximum - next) + sums_[b] * ExactExp(maxima_[b] - next);
    maximum = next;
  }
  const double result = maximum + ExactLog(sum);
  if (!(sum > 0) || !(result < kInfinity)) {
    return NotFiniteError();
  }
  return result;
}

Logprobs Sampler::LogprobsOf(const float* logits, double log_sum_exp, uint32_t id, int64_t top) {
  Logprobs result;
  result.chosen = LogprobOf(logits[id], log_sum_exp);
  result.top = Ranked(logits, top);
  for (RankedId& each : result.top) each.logprob = LogprobOf(logits[each.id], log_sum_exp);
  return result;
}

std::vector<RankedId> Sampler::Ranked(const float* values, int64_t count) const {
  // A heap of the best so far, the worst of them in front.
  std::vector<RankedId> heap;
  if (count <= 0) return heap;
  const size_t size = static_cast<size_t>(std::min(count, vocab_size_));
  heap.reserve(size);
  for (int64_t i = 0; i < vocab_size_; ++i) {
    const RankedId next = {static_cast<uint32_t>(i), values[i]};
    if (heap.size() == size) {
      if (!RanksBefore(next, heap.front())) continue;
      std::pop_heap(heap.begin(), heap.end(), RanksBefore);
      heap.pop_back();
    }
    heap.push_back(next);
    std::push_heap(heap.begin(), heap.end(), RanksBefore);
  }
  std::sort_heap(heap.begin(), heap.end(), RanksBefore);
  return heap;
}

absl::StatusOr<std::vector<RankedId>> Sampler::Candidates(const float* logits, double log_sum_exp,
                                                          const DrawContext& context,
                                                          int64_t count) {
  Adjust(logits, context);
  std::vector<RankedId> ranked = Ranked(values_, count);
  while (!ranked.empty() && ranked.back().logprob == -kInfinity) ranked.pop_back();
  if (ranked.empty()) return NothingToDrawError();
  for (RankedId& each : ranked) each.logprob = LogprobOf(logits[each.id], log_sum_exp);
  return ranked;
}

void Sampler::Penalize(const DrawContext& context) {
  const SamplingParams& params = context.params;
  for (uint32_t id : context.ids.subspan(context.prompt_length)) ++counts_[id];
  for (uint32_t id : context.ids) {
    if ((counts_[id] & kDone) != 0) continue;
    const float count = static_cast<float>(counts_[id]);
    float value = values_[id];
    value = value > 0 ? value / params.repetition_penalty : value * params.repetition_penalty;
    value -= params.frequency_penalty * count;
    if (count > 0) value -= params.presence_penalty;
    values_[id] = value;
    counts_[id] |= kDone;
  }
  for (uint32_t id : context.ids) counts_[id] = 0;
}

absl::StatusOr<float> Sampler::Highest(uint32_t* id) const {
  float highest = -kInfinity;
  for (int64_t i = 0; i < vocab_size_; ++i) {
    if (values_[i] > highest) {
      highest = values_[i];
      *id = static_cast<uint32_t>(i);
    }
  }
  if (highest == -kInfinity) {
    return NothingToDrawError();
  }
  return highest;
}

void Sampler::Adjust(const float* logits, const DrawContext& context) {
  std::copy(logits, logits + vocab_size_, values_);
  const absl::Span<float> values(values_, vocab_size_);
  if (context.restrictions != nullptr) {
    Forbid(*context.restrictions, context.ids.subspan(context.prompt_length), values);
  }
  for (uint32_t id : context.masked_ids) {
    if (id < vocab_size_) values_[id] = -kInfinity;
  }
  if (context.restrictions != nullptr) AddBias(*context.restrictions, values);
  if (Penalizes(context.params)) Penalize(context);
}

absl::StatusOr<uint32_t> Sampler::Draw(const float* logits, const DrawContext& context) {
  const SamplingParams& params = context.params;
  Adjust(logits, context);
  uint32_t best = 0;
  ASSIGN_OR_RETURN(const float highest, Highest(&best));
  if (params.temperature == 0.0f) return best;

  for (int64_t i = 0; i < vocab_size_; ++i) {
    values_[i] = (values_[i] - highest) / params.temperature;
  }
  Exponentials(values_, /*keep=*/true);
  const double uniform = PhiloxUniform(params.seed, context.sequence_index, context.ids.size());
  return Filters(params) ? WalkFiltered(params, uniform) : WalkAll(uniform);
}

// Over all ids, whole blocks first.
uint32_t Sampler::WalkAll(double uniform) const {
  double total = 0;
  for (size_t b = 0; b < sums_.size(); ++b) total += sums_[b] * ExactExp(maxima_[b]);
  const double target = uniform * total;
  double sum = 0;
  uint32_t last = 0;  // of those with a weight: where rounding lets the walk pass the end
  for (size_t b = 0; b < sums_.size(); ++b) {
    const double scale = ExactExp(maxima_[b]);
    const double after = sum + sums_[b] * scale;
    const bool final_block = b + 1 == sums_.size();
    if (!(after > target) && !final_block) {
      sum = after;
      continue;
    }
    const int64_t begin = b * vocab_block_;
    const int64_t end = std::min(begin + vocab_block_, vocab_size_);
    for (int64_t i = begin; i < end; ++i) {
      if (!(exponentials_[i] * scale > 0)) continue;
      last = static_cast<uint32_t>(i);
      sum += exponentials_[i] * scale;
      if (sum > target) return last;
    }
    return last;
  }
  return last;
}

uint32_t Sampler::WalkFiltered(const SamplingParams& params, double uniform) {
  int64_t count = 0;
  for (size_t b = 0; b < sums_.size(); ++b) {
    const double scale = ExactExp(maxima_[b]);
    if (!(scale > 0)) continue;
    const int64_t begin = b * vocab_block_;
    const int64_t end = std::min(begin + vocab_block_, vocab_size_);
    for (int64_t i = begin; i < end; ++i) {
      // The highest value has weight 1.
      const float weight = static_cast<float>(exponentials_[i] * scale);
      if (!(weight > 0) || weight < params.min_p) continue;
      candidates_[count++] = {static_cast<uint32_t>(i), values_[i], weight};
    }
  }
  auto kept = [&] { return absl::MakeSpan(candidates_, count); };
  if (params.top_k > 0) count = KeepTopK(kept(), params.top_k);
  if (params.top_p < 1.0f) count = KeepTopP(kept(), params.top_p);
  if (params.typical_p < 1.0f) count = KeepTypical(kept(), params.typical_p);
  return DrawAt(kept(), uniform);
}

}  // namespace tessera::worker
