// From rows of logits to tokens, by rule 6 of worker/README.md: to the bits of worker/sampling.
//
// Idea: a block of threads to a row. What is done to each id is spread over the threads; a sum
// whose order counts is added by one thread, ids ascending, from shared memory that all of them
// fill. What is kept of the highest ids is a threshold among keys (value, then the lower id), which
// are all different: it is found digit by digit from the counts of each, and only where an order is
// needed are keys sorted, 1,024 at a time. Shapes: logits [rows, vocab].
// Bottleneck: a dozen walks of a block over its row; with top_p alone, the sum over all ids by one
// thread. Measure with tests/bench/cuda.
#include "worker/backend/cuda/draw.h"

#include <cuda_runtime.h>

#include "worker/backend/cuda/kernels.h"
#include "worker/backend/cuda/launch.cuh"
#include "worker/backend/cuda/math.cuh"
#include "worker/backend/cuda/scalar_math.cuh"

namespace tessera::worker::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kChunk = 1024;
constexpr int kWaits = -1;            // an outcome that the walk will give
constexpr uint32_t kDone = 1u << 31;  // in counts: this id has its penalties

static_assert(kChunk == kMaxDrawBlocks);

struct Shared {
  uint64_t keys[kChunk];
  double numbers[kChunk];
  double scales[kChunk];
  uint32_t counts[kThreads];
  float best_values[kThreads];
  uint32_t best_ids[kThreads];
  uint64_t threshold;
  double sum;
  uint32_t filled;
  uint32_t id;
  int32_t kept;
  int32_t done;
  int64_t block;
};

// Orders ids by value, then the lower id first; never 0.
__device__ __forceinline__ uint64_t KeyOf(float value, int64_t id) {
  const uint32_t bits = __float_as_uint(value + 0.0f);  // one zero
  const uint32_t ordered = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
  return uint64_t{ordered} << 32 | static_cast<uint32_t>(~static_cast<uint32_t>(id));
}
__device__ __forceinline__ uint32_t IdOf(uint64_t key) { return ~static_cast<uint32_t>(key); }

// The least of the `count` highest keys below `below`; 1 where there are no more than that. key(i)
// is 0 where id i takes no part.
template <typename Key>
__device__ uint64_t Select(const Key& key, int64_t size, int64_t count, uint64_t below,
                           Shared* shared) {
  uint64_t prefix = 0;
  int64_t left = count;
  for (int shift = 56; shift >= 0; shift -= 8) {
    __syncthreads();
    shared->counts[Thread()] = 0;
    __syncthreads();
    const uint64_t mask = shift == 56 ? 0 : ~uint64_t{0} << (shift + 8);
    for (int64_t i = Thread(); i < size; i += kThreads) {
      const uint64_t k = key(i);
      if (k != 0 && k < below && (k & mask) == prefix) {
        atomicAdd(&shared->counts[k >> shift & 255], 1u);
      }
    }
    __syncthreads();
    int digit = 255;  // all threads walk over the same counts
    while (digit >= 0 && shared->counts[digit] < left) left -= shared->counts[digit--];
    if (digit < 0) return 1;
    prefix |= static_cast<uint64_t>(digit) << shift;
    if (shared->counts[digit] == left) break;
  }
  __syncthreads();
  return prefix;
}

// shared->keys [0, count): the keys in [from, below), descending, of which there are at most
// kChunk. Returns their count.
template <typename Key>
__device__ int SortKeys(const Key& key, int64_t size, uint64_t from, uint64_t below,
                        Shared* shared) {
  if (Thread() == 0) shared->filled = 0;
  __syncthreads();
  for (int64_t i = Thread(); i < size; i += kThreads) {
    const uint64_t k = key(i);
    if (k >= from && k < below) shared->keys[atomicAdd(&shared->filled, 1u)] = k;
  }
  __syncthreads();
  const int count = static_cast<int>(shared->filled);
  int padded = 1;
  while (padded < count) padded *= 2;
  for (int i = count + Thread(); i < padded; i += kThreads) shared->keys[i] = 0;
  for (int run = 2; run <= padded; run *= 2) {
    for (int stride = run / 2; stride > 0; stride /= 2) {
      __syncthreads();
      for (int i = Thread(); i < padded / 2; i += kThreads) {
        const int low = 2 * i - (i & (stride - 1));
        const uint64_t a = shared->keys[low];
        const uint64_t b = shared->keys[low + stride];
        if ((a < b) == ((low & run) == 0)) {
          shared->keys[low] = b;
          shared->keys[low + stride] = a;
        }
      }
    }
  }
  __syncthreads();
  return count;
}

// number(i) for i ascending, one after the other on one thread, which calls body(i, number) until
// that is false; numbers that are 0 may be left out.
template <typename Number, typename Body>
__device__ void InOrder(int64_t size, const Number& number, const Body& body, Shared* shared) {
  if (Thread() == 0) shared->done = 0;
  for (int64_t begin = 0; begin < size; begin += kChunk) {
    const int count = static_cast<int>(begin + kChunk < size ? kChunk : size - begin);
    if (Thread() == 0) shared->filled = 0;
    __syncthreads();
    for (int i = Thread(); i < count; i += kThreads) {
      const double x = number(begin + i);
      shared->numbers[i] = x;
      if (x != 0) atomicOr(&shared->filled, 1u);
    }
    __syncthreads();
    if (Thread() == 0 && shared->filled != 0) {
      for (int i = 0; i < count; ++i) {
        if (body(begin + i, shared->numbers[i])) continue;
        shared->done = 1;
        break;
      }
    }
    __syncthreads();
    if (shared->done != 0) break;
  }
  __syncthreads();
}

// The sum of the weights, ids ascending; on all threads.
__device__ double TotalWeight(const float* weights, int64_t size, Shared* shared) {
  if (Thread() == 0) shared->sum = 0;
  InOrder(
      size, [&](int64_t i) { return static_cast<double>(weights[i]); },
      [&](int64_t, double x) {
        shared->sum += x;
        return true;
      },
      shared);
  return shared->sum;
}

// Blocks merged in ascending order, each by its exponentials, which the threads share out; on
// thread 0.
__device__ double LogSumExp(const float* maxima, const float* sums, int64_t blocks,
                            Shared* shared) {
  double* earlier = reinterpret_cast<double*>(shared->keys);
  if (Thread() == 0) {
    double maximum = -InfiniteDouble();
    for (int64_t b = 0; b < blocks; ++b) {
      earlier[b] = maximum;
      if (sums[b] != 0 && maximum < maxima[b]) maximum = maxima[b];
      shared->numbers[b] = maximum;
    }
  }
  __syncthreads();
  for (int64_t b = Thread(); b < blocks; b += kThreads) {
    const double next = shared->numbers[b];
    shared->scales[b] = ExactExp(earlier[b] - next);
    earlier[b] = ExactExp(maxima[b] - next);
  }
  __syncthreads();
  double sum = 0;
  for (int64_t b = 0; Thread() == 0 && b < blocks; ++b) {
    if (sums[b] == 0) continue;  // a block of -infinity
    sum = sum * shared->scales[b] + sums[b] * earlier[b];
  }
  const double maximum = shared->numbers[blocks - 1];
  __syncthreads();
  if (!(sum > 0)) return __longlong_as_double(0x7ff8000000000000ll);
  return maximum + ExactLog(sum);
}

__device__ float Logprob(const float* logits, uint32_t id, double log_sum) {
  return static_cast<float>(logits[id] - log_sum);
}

__device__ void ReportTop(const float* logits, int64_t size, int32_t top, DeviceDrawn* drawn,
                          Shared* shared) {
  const auto key = [&](int64_t i) { return KeyOf(logits[i], i); };
  const uint64_t from = Select(key, size, top, ~uint64_t{0}, shared);
  const int count = SortKeys(key, size, from, ~uint64_t{0}, shared);
  if (Thread() == 0) drawn->num_top = count;
  for (int i = Thread(); i < count; i += kThreads) {
    const uint32_t id = IdOf(shared->keys[i]);
    drawn->top[i] = {id, Logprob(logits, id, drawn->log_sum)};
  }
}

// What the request allows, forbids and favours.
__device__ void Restrict(const DeviceDraw& draw, const uint32_t* words, const float* logits,
                         int64_t size, float* values) {
  const float lowest = LowestFloat();
  const bool all = draw.all_allowed != 0;
  for (int64_t i = Thread(); i < size; i += kThreads) values[i] = all ? logits[i] : lowest;
  __syncthreads();
  for (int i = Thread(); i < draw.allowed.count; i += kThreads) {
    const uint32_t id = words[draw.allowed.begin + i];
    values[id] = logits[id];
  }
  __syncthreads();
  for (int i = Thread(); i < draw.forbidden.count; i += kThreads) {
    values[words[draw.forbidden.begin + i]] = lowest;
  }
  __syncthreads();
  for (int i = Thread(); i < draw.biased.count; i += kThreads) {
    const uint32_t* pair = words + draw.biased.begin + 2 * i;
    values[pair[0]] = values[pair[0]] + __uint_as_float(pair[1]);
  }
  __syncthreads();
}

__device__ void Penalize(const DeviceDraw& draw, const uint32_t* words, int64_t size,
                         uint32_t* counts, float* values) {
  for (int64_t i = Thread(); i < size; i += kThreads) counts[i] = 0;
  __syncthreads();
  const uint32_t* ids = words + draw.ids.begin;
  for (int i = draw.prompt_length + Thread(); i < draw.ids.count; i += kThreads) {
    atomicAdd(&counts[ids[i]], 1u);
  }
  __syncthreads();
  for (int i = Thread(); i < draw.ids.count; i += kThreads) {
    const uint32_t id = ids[i];
    const uint32_t before = atomicOr(&counts[id], kDone);
    if ((before & kDone) != 0) continue;
    const float count = static_cast<float>(before);
    float value = values[id];
    value = value > 0.0f ? value / draw.repetition_penalty : value * draw.repetition_penalty;
    value = value - draw.frequency_penalty * count;
    if (count > 0.0f) value = value - draw.presence_penalty;
    values[id] = value;
  }
  __syncthreads();
}

// The highest value, of the lowest id that has it, in best_values[0] and best_ids[0].
__device__ void FindHighest(const float* values, int64_t size, Shared* shared) {
  float highest = LowestFloat();
  uint32_t id = ~0u;
  for (int64_t i = Thread(); i < size; i += kThreads) {
    if (!(values[i] > highest)) continue;
    highest = values[i];
    id = static_cast<uint32_t>(i);
  }
  shared->best_values[Thread()] = highest;
  shared->best_ids[Thread()] = id;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (Thread() >= half) continue;
    const float other = shared->best_values[Thread() + half];
    const uint32_t other_id = shared->best_ids[Thread() + half];
    const float own = shared->best_values[Thread()];
    if (other > own || (other == own && other_id < shared->best_ids[Thread()])) {
      shared->best_values[Thread()] = other;
      shared->best_ids[Thread()] = other_id;
    }
  }
  __syncthreads();
}

// Logprobs, what is done to the values, and the token where the highest value is taken.
__global__ void PrepareKernel(DrawBatch batch) {
  Shared* shared = SharedMemory<Shared>();
  const DeviceDraw draw = batch.draws[blockIdx.x];
  DeviceDrawn* drawn = batch.drawn + blockIdx.x;
  const int64_t size = batch.vocab_size;
  const float* logits = batch.logits + draw.row * size;
  const double log_sum =
      LogSumExp(batch.maxima + draw.row * batch.num_blocks,
                batch.sums + draw.row * batch.num_blocks, batch.num_blocks, shared);
  if (Thread() == 0) {
    const bool finite = log_sum < InfiniteDouble();
    drawn->log_sum = log_sum;
    drawn->num_top = 0;
    drawn->outcome =
        static_cast<int32_t>(finite ? DrawnRow::Outcome::kDrawn : DrawnRow::Outcome::kNotFinite);
    shared->kept = finite;
    if (finite && draw.draws == 0) {
      drawn->id = draw.id;
      drawn->logprob = Logprob(logits, draw.id, log_sum);
    }
  }
  __syncthreads();
  if (shared->kept == 0) return;
  if (draw.top > 0) ReportTop(logits, size, draw.top, drawn, shared);
  if (draw.draws == 0) return;
  float* values = batch.values + blockIdx.x * size;
  Restrict(draw, batch.words, logits, size, values);
  if (draw.ids.count > 0) {
    Penalize(draw, batch.words, size, batch.counts + blockIdx.x * size, values);
  }
  FindHighest(values, size, shared);
  const float highest = shared->best_values[0];
  const uint32_t best = shared->best_ids[0];
  if (best != ~0u && draw.temperature != 0.0f) {
    for (int64_t i = Thread(); i < size; i += kThreads) {
      values[i] = (values[i] - highest) / draw.temperature;
    }
  }
  if (Thread() != 0) return;
  if (best == ~0u) {
    drawn->outcome = static_cast<int32_t>(DrawnRow::Outcome::kNothingToDraw);
  } else if (draw.temperature == 0.0f) {
    drawn->id = best;
    drawn->logprob = Logprob(logits, best, drawn->log_sum);
  } else {
    drawn->outcome = kWaits;
  }
}

// Philox4x32-10, as worker/sampling/philox.cc.
__device__ double PhiloxUniform(uint64_t seed, uint32_t sequence_index, uint64_t position) {
  uint32_t counter[4] = {static_cast<uint32_t>(position), static_cast<uint32_t>(position >> 32),
                         sequence_index, 0};
  uint32_t key[2] = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
  for (int round = 0; round < 10; ++round) {
    const uint64_t first = uint64_t{0xD2511F53u} * counter[0];
    const uint64_t second = uint64_t{0xCD9E8D57u} * counter[2];
    counter[0] = static_cast<uint32_t>(second >> 32) ^ counter[1] ^ key[0];
    counter[1] = static_cast<uint32_t>(second);
    counter[2] = static_cast<uint32_t>(first >> 32) ^ counter[3] ^ key[1];
    counter[3] = static_cast<uint32_t>(first);
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  const uint64_t mantissa = (uint64_t{counter[0]} << 32 | counter[1]) >> 11;
  return static_cast<double>(mantissa) * (1.0 / 9007199254740992.0);
}

// The id at `uniform` of the walk over all ids, whole blocks first; exponentials are against the
// maximum of their block, whose own are shared->scales. On thread 0.
__device__ uint32_t WalkAll(const DrawBatch& batch, const float* exponentials, const float* sums,
                            double uniform, Shared* shared) {
  if (Thread() == 0) {
    double total = 0;
    for (int64_t b = 0; b < batch.num_blocks; ++b) total += sums[b] * shared->scales[b];
    const double target = uniform * total;
    double sum = 0;
    int64_t b = 0;
    for (; b + 1 < batch.num_blocks; ++b) {
      const double after = sum + sums[b] * shared->scales[b];
      if (after > target) break;
      sum = after;
    }
    shared->block = b;
    shared->sum = sum;
    shared->numbers[0] = target;
    shared->id = 0;
  }
  __syncthreads();
  const double target = shared->numbers[0];
  const int64_t begin = shared->block * batch.vocab_block;
  const int64_t rest = batch.vocab_size - begin;
  const double scale = shared->scales[shared->block];
  double sum = shared->sum;
  __syncthreads();
  InOrder(
      rest < batch.vocab_block ? rest : batch.vocab_block,
      [&](int64_t i) { return exponentials[begin + i] * scale; },
      [&](int64_t i, double x) {
        if (!(x > 0)) return true;
        shared->id = static_cast<uint32_t>(begin + i);
        sum += x;
        return !(sum > target);
      },
      shared);
  return shared->id;
}

// Leaves weights of ids whose keys are `threshold` or more.
template <typename Key>
__device__ void DropBelow(const Key& key, int64_t size, uint64_t threshold, float* weights) {
  __syncthreads();
  for (int64_t i = Thread(); i < size; i += kThreads) {
    if (key(i) < threshold) weights[i] = 0.0f;
  }
  __syncthreads();
}

// The least key of the fewest of the highest whose weights sum to `mass` of all, or more.
template <typename Key>
__device__ uint64_t TopPThreshold(const Key& key, int64_t size, float mass, const float* weights,
                                  Shared* shared) {
  const double wanted = TotalWeight(weights, size, shared) * mass;
  __syncthreads();
  if (Thread() == 0) {
    shared->sum = 0;
    shared->kept = 0;
    shared->threshold = 1;
  }
  uint64_t below = ~uint64_t{0};
  for (;;) {
    const uint64_t from = Select(key, size, kChunk, below, shared);
    const int count = SortKeys(key, size, from, below, shared);
    for (int i = Thread(); i < count; i += kThreads) {
      shared->numbers[i] = weights[IdOf(shared->keys[i])];
    }
    __syncthreads();
    if (Thread() == 0) {
      int i = 0;
      for (; i < count && (shared->kept == 0 || shared->sum < wanted); ++i) {
        shared->sum += shared->numbers[i];
        shared->kept = 1;
        shared->threshold = shared->keys[i];
      }
      shared->done = i < count || shared->sum >= wanted;
    }
    __syncthreads();
    const bool done = shared->done != 0 || count < kChunk;
    __syncthreads();
    if (done) return shared->threshold;
    below = from;
  }
}

// What min_p, top_k and top_p leave, then the id at `uniform` of the walk over it.
__device__ uint32_t WalkFiltered(const DrawBatch& batch, const DeviceDraw& draw,
                                 const float* values, float* weights, double uniform,
                                 Shared* shared) {
  const int64_t size = batch.vocab_size;
  for (int64_t i = Thread(); i < size; i += kThreads) {
    const double scale = shared->scales[i / batch.vocab_block];
    // The highest value has weight 1.
    const float weight = scale > 0 ? static_cast<float>(weights[i] * scale) : 0.0f;
    weights[i] = !(weight > 0.0f) || weight < draw.min_p ? 0.0f : weight;
  }
  __syncthreads();
  const auto key = [&](int64_t i) { return weights[i] > 0.0f ? KeyOf(values[i], i) : uint64_t{0}; };
  if (draw.top_k > 0) {
    DropBelow(key, size, Select(key, size, draw.top_k, ~uint64_t{0}, shared), weights);
  }
  if (draw.top_p < 1.0f) {
    DropBelow(key, size, TopPThreshold(key, size, draw.top_p, weights, shared), weights);
  }
  const double target = uniform * TotalWeight(weights, size, shared);
  __syncthreads();
  if (Thread() == 0) shared->sum = 0;
  InOrder(
      size, [&](int64_t i) { return static_cast<double>(weights[i]); },
      [&](int64_t i, double x) {
        if (x == 0) return true;
        shared->id = static_cast<uint32_t>(i);
        shared->sum += x;
        return !(shared->sum > target);
      },
      shared);
  return shared->id;
}

// The tokens that PrepareKernel left open.
__global__ void WalkKernel(DrawBatch batch) {
  Shared* shared = SharedMemory<Shared>();
  DeviceDrawn* drawn = batch.drawn + blockIdx.x;
  if (drawn->outcome != kWaits) return;
  const DeviceDraw draw = batch.draws[blockIdx.x];
  const int64_t size = batch.vocab_size;
  const float* maxima = batch.value_maxima + blockIdx.x * batch.num_blocks;
  const float* sums = batch.value_sums + blockIdx.x * batch.num_blocks;
  float* weights = batch.weights + blockIdx.x * size;
  for (int64_t b = Thread(); b < batch.num_blocks; b += kThreads) {
    shared->scales[b] = ExactExp(maxima[b]);
  }
  __syncthreads();
  const double uniform = PhiloxUniform(draw.seed, draw.sequence_index, draw.position);
  const bool filters = draw.min_p > 0.0f || draw.top_k > 0 || draw.top_p < 1.0f;
  const uint32_t id = filters ? WalkFiltered(batch, draw, batch.values + blockIdx.x * size, weights,
                                             uniform, shared)
                              : WalkAll(batch, weights, sums, uniform, shared);
  if (Thread() != 0) return;
  drawn->id = id;
  drawn->logprob = Logprob(batch.logits + draw.row * size, id, drawn->log_sum);
  drawn->outcome = static_cast<int32_t>(DrawnRow::Outcome::kDrawn);
}

__global__ void ResolveIdsKernel(const DeviceDrawn* drawn, int64_t count, int64_t* ids) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + Thread();
  if (i >= count || ids[i] >= 0) return;
  const DeviceDrawn& from = drawn[-1 - ids[i]];
  const bool there = from.outcome == static_cast<int32_t>(DrawnRow::Outcome::kDrawn);
  ids[i] = there ? static_cast<int64_t>(from.id) : 0;
}

}  // namespace

int ResolveIds(const DeviceDrawn* drawn, int64_t count, int64_t* ids, CUstream_st* stream) {
  return Launch(stream, ResolveIdsKernel, dim3(static_cast<unsigned>(CeilDiv(count, kThreads))),
                kThreads, 0, drawn, count, ids);
}

int Draw(const DrawBatch& batch, CUstream_st* stream) {
  const dim3 grid(static_cast<unsigned>(batch.num_draws));
  int error = Launch(stream, PrepareKernel, grid, kThreads, sizeof(Shared), batch);
  if (error != cudaSuccess) return error;
  SoftmaxBlocksArgs softmax;
  softmax.input = batch.values;
  softmax.size = batch.vocab_size;
  softmax.block = batch.vocab_block;
  softmax.maxima = batch.value_maxima;
  softmax.sums = batch.value_sums;
  softmax.exponentials = batch.weights;
  error = SoftmaxBlocksOfRows(softmax, batch.num_draws, stream);
  if (error != cudaSuccess) return error;
  return Launch(stream, WalkKernel, grid, kThreads, sizeof(Shared), batch);
}

}  // namespace tessera::worker::cuda
