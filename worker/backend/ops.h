// The arguments of a backend's operations: plain data, borrowed pointers, fp32 activations. No
// inline functions, since files compiled for one instruction set include this.
#ifndef TESSERA_WORKER_BACKEND_OPS_H_
#define TESSERA_WORKER_BACKEND_OPS_H_

#include <cstddef>
#include <cstdint>

#include "shard_loader/model/decoder_spec.h"
#include "shard_loader/model/dtype.h"

namespace tessera::worker {

inline constexpr int64_t kAttentionTile = 256;  // keys reduced together; part of the numerics
inline constexpr int64_t kMaxHeadSize = 512;
inline constexpr int kMaxFoldDepth = 12;  // partial sums that wait for a neighbour

// A packed matrix [rows, columns] (shard_loader/plan/packed_layout.h). Borrowed.
struct PackedMatrix {
  const std::byte* data = nullptr;
  shard_loader::DType dtype = shard_loader::DType::kF32;
  int64_t rows = 0;
  int64_t columns = 0;
};

// A range of columns that is summed alone.
struct SumLane {
  int64_t begin = 0;  // columns of the rank's slice
  int64_t end = 0;
  int folds = 0;  // after this lane: so many times, the last two sums become one
  int root = -1;  // then the sum left is this root, or -1 where it waits for a neighbour
};

struct ProductArgs {
  const float* input = nullptr;  // [num_rows, weights.columns]
  int64_t num_rows = 0;
  PackedMatrix weights;
  const SumLane* lanes = nullptr;  // of a SumOrder
  int64_t num_lanes = 0;
  const float* bias = nullptr;  // [weights.rows], or null: added once to every root's sum
  float* output = nullptr;      // [roots, num_rows, weights.rows]
  int64_t root_stride = 0;      // floats from one root's output to the next
};

// The paged cache of one layer: blocks of [kv_heads][keys, then values] as KvBlockShape says.
struct KvLayer {
  std::byte* data = nullptr;
  shard_loader::DType dtype = shard_loader::DType::kF32;
  int64_t num_kv_heads = 0;
  int64_t head_size = 0;
};

// The rows of a step: row r is the token at positions[r] of the sequence whose blocks are
// block_tables[r].
struct RowTable {
  int64_t num_rows = 0;
  const int32_t* positions = nullptr;             // [num_rows]
  const uint32_t* const* block_tables = nullptr;  // [num_rows], each [blocks of the sequence]
};

struct RopeArgs {
  const float* cosines = nullptr;  // [num_rows, head_size / 2]
  const float* sines = nullptr;    // likewise
  float* query = nullptr;          // [num_rows, num_heads, head_size]: rotated in place
  int64_t num_heads = 0;
  float* key = nullptr;          // [num_rows, kv_heads, head_size]: rotated in place, then stored
  const float* value = nullptr;  // [num_rows, kv_heads, head_size]: stored
};

struct AttentionArgs {
  const float* query = nullptr;  // [num_rows, num_heads, head_size]
  int64_t num_heads = 0;
  const int32_t* kv_head_of = nullptr;  // [num_heads]: index into the layer's KV heads
  float scale = 1.0f;                   // of the scores
  int64_t window = 0;                   // 0: every position up to the row's own
  float* output = nullptr;              // [num_rows, num_heads, head_size]
};

struct NormArgs {
  const float* input = nullptr;  // [num_rows, size]
  int64_t num_rows = 0;
  int64_t size = 0;
  const float* weight = nullptr;  // [size]
  float epsilon = 0;
  float* output = nullptr;  // [num_rows, size]; may be the input
};

// Softmax in blocks of ids: each block is reduced alone, against its own maximum.
struct SoftmaxBlocksArgs {
  const float* input = nullptr;  // [size]
  int64_t size = 0;
  int64_t block = 0;              // the last one may be shorter
  float* maxima = nullptr;        // [blocks]
  float* sums = nullptr;          // [blocks]: of exp(input - maximum); NaN where an input is; 0
                                  // where all are -infinity
  float* exponentials = nullptr;  // [size], or null: exp(input - maximum of its block)
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_BACKEND_OPS_H_
