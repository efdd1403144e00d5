// The kernels that draw tokens (worker/backend/drawer.h), as launches on a stream. Pointers are the
// device's. All return a cudaError_t, of the launch alone.
#ifndef TESSERA_WORKER_BACKEND_CUDA_DRAW_H_
#define TESSERA_WORKER_BACKEND_CUDA_DRAW_H_

#include <cstdint>

#include "worker/backend/drawer.h"

struct CUstream_st;

namespace tessera::worker::cuda {

// Part of the words that come with the rows.
struct WordRange {
  int32_t begin = 0;
  int32_t count = 0;
};

// A DrawRow as the device reads it.
struct DeviceDraw {
  uint64_t seed = 0;
  int32_t row = 0;
  uint32_t draws = 0;
  uint32_t id = 0;
  int32_t top = 0;
  float temperature = 1.0f;
  int32_t top_k = 0;
  float top_p = 1.0f;
  float min_p = 0.0f;
  float repetition_penalty = 1.0f;
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  uint32_t sequence_index = 0;
  int64_t position = 0;       // of the token that is drawn
  WordRange ids;              // only where there are penalties
  int32_t prompt_length = 0;  // of `ids`
  uint32_t all_allowed = 1;
  WordRange allowed;
  WordRange forbidden;
  WordRange biased;  // pairs of an id and the bits of its bias
};

struct DeviceDrawn {
  int32_t outcome = 0;  // DrawnRow::Outcome; kWaits between the kernels
  uint32_t id = 0;
  float logprob = 0;
  int32_t num_top = 0;
  double log_sum = 0;
  DrawnRow::Ranked top[kMaxDrawerTop];
};

// Arrays of the vocabulary are by draw, not by row of the logits.
struct DrawBatch {
  const float* logits = nullptr;
  int64_t vocab_size = 0;
  int64_t vocab_block = 0;
  int64_t num_blocks = 0;             // at most kMaxDrawBlocks
  const float* maxima = nullptr;      // [rows of the logits, num_blocks]: SoftmaxBlocksOfRows
  const float* sums = nullptr;        // likewise
  const DeviceDraw* draws = nullptr;  // [num_draws]
  int64_t num_draws = 0;
  const uint32_t* words = nullptr;
  float* values = nullptr;        // [num_draws, vocab]
  float* weights = nullptr;       // likewise: exponentials, then what they weigh
  uint32_t* counts = nullptr;     // likewise
  float* value_maxima = nullptr;  // [num_draws, num_blocks]: SoftmaxBlocksOfRows of the values
  float* value_sums = nullptr;    // likewise
  DeviceDrawn* drawn = nullptr;   // [num_draws]
};

inline constexpr int64_t kMaxDrawBlocks = 1024;

int Draw(const DrawBatch& batch, CUstream_st* stream);

// Ids [count] that are a DrawnId become what was drawn, in place.
int ResolveIds(const DeviceDrawn* drawn, int64_t count, int64_t* ids, CUstream_st* stream);

}  // namespace tessera::worker::cuda

#endif  // TESSERA_WORKER_BACKEND_CUDA_DRAW_H_
