// The arguments of a backend's operations: plain data, borrowed pointers, fp32 activations. No
// inline functions, since files compiled for one instruction set include this.
#ifndef TESSERA_WORKER_BACKEND_OPS_H_
#define TESSERA_WORKER_BACKEND_OPS_H_

#include <cstddef>
#include <cstdint>

#include "shard_loader/model/decoder_spec.h"
#include "shard_loader/model/dtype.h"
#include "shard_loader/plan/codes.h"

namespace tessera::worker {

inline constexpr int64_t kAttentionTile = 256;  // keys reduced together; part of the numerics
inline constexpr int64_t kMaxHeadSize = 512;
inline constexpr int kMaxTreeRoots = 64;
inline constexpr int kMaxFoldDepth = 12;  // partial sums that wait for a neighbour

// A packed matrix [rows, columns] (shard_loader/plan/packed_layout.h). Borrowed.
struct PackedMatrix {
  const std::byte* data = nullptr;
  shard_loader::DType dtype = shard_loader::DType::kF32;
  int64_t rows = 0;
  int64_t columns = 0;
  // Of a coded matrix; `dtype` is then that of the scales.
  shard_loader::Codes codes = shard_loader::Codes::kNone;
  const int64_t* groups = nullptr;  // [num_groups + 1]: where each begins, and the end
  int64_t num_groups = 0;
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

// The paged cache of one layer: blocks of [kv_heads][keys, then values] as KvBlockShape says. With
// int8 a key or value of a token, at most M in magnitude, is M / 127 times the integers nearest to
// its elements times 127 / M, ties to even; zeros below 1e-30, and NaN where one is not finite.
struct KvLayer {
  std::byte* data = nullptr;
  shard_loader::DType dtype = shard_loader::DType::kF32;
  int64_t num_kv_heads = 0;
  int64_t head_size = 0;   // of queries and keys
  int64_t value_size = 0;  // of values and outputs
  bool int8 = false;       // `dtype` is then that of the scales
};

// The rows of a step: row r is the token at positions[r] of the sequence whose blocks are
// block_tables[r].
struct RowTable {
  int64_t num_rows = 0;
  const int32_t* positions = nullptr;             // [num_rows]
  const uint32_t* const* block_tables = nullptr;  // [num_rows], each [blocks of the sequence]
};

struct RopeArgs {
  const float* cosines = nullptr;  // [num_rows, rotary_size / 2]
  const float* sines = nullptr;    // likewise
  int64_t rotary_begin = 0;        // the elements of a head that are rotated; others stay
  int64_t rotary_size = 0;         // 0: none, and no angles
  bool interleaved = false;        // element 2i pairs with 2i + 1; else i with i + rotary_size / 2
  float* query = nullptr;          // [num_rows, num_heads, head_size]: rotated in place
  int64_t num_heads = 0;
  float* key = nullptr;          // [num_rows, kv_heads, head_size]: rotated in place, then stored
  const float* value = nullptr;  // [num_rows, kv_heads, value_size]: stored
};

struct AttentionArgs {
  const float* query = nullptr;  // [num_rows, num_heads, head_size]
  int64_t num_heads = 0;
  const int32_t* kv_head_of = nullptr;  // [num_heads]: index into the layer's KV heads, ascending
  float scale = 1.0f;                   // of the scores
  int64_t window = 0;                   // 0: every position up to the row's own
  float* output = nullptr;              // [num_rows, num_heads, value_size]
  float soft_cap = 0;                   // above 0: a scaled score s becomes cap * tanh(s / cap)
  const float* slopes = nullptr;  // [num_heads], or null: slope * (key - row position) is added
  const float* sinks = nullptr;   // [num_heads], or null: a score that joins the sum of weights
};

struct NormArgs {
  const float* input = nullptr;  // [num_rows, size]
  int64_t num_rows = 0;
  int64_t size = 0;
  const float* weight = nullptr;  // [weight_rows, size], or null: ones
  float epsilon = 0;
  float* output = nullptr;  // [num_rows, size]; may be the input
  shard_loader::NormKind kind = shard_loader::NormKind::kRms;
  const float* bias = nullptr;  // [weight_rows, size], or null
  int64_t weight_rows = 1;      // row r has the weights r % weight_rows
  // kRms over more than the row: [num_rows / weight_rows] sums of squares, each over `sum_size`
  // elements. Null: the row's own.
  const float* squares = nullptr;
  int64_t sum_size = 0;
};

struct ActivationArgs {
  shard_loader::Activation activation = shard_loader::Activation::kSilu;
  int64_t size = 0;
  const float* up = nullptr;  // [size], or null: not gated
  float* gate = nullptr;      // [size]: activation(gate) * up, or activation(gate)
  float limit = 0;            // kClampedSwiglu: of gate from above, of up from both sides
};

// residual += scale * (sum + bias), row by row.
struct ResidualArgs {
  const float* sum = nullptr;   // [num_rows, size]
  const float* bias = nullptr;  // [size], or null
  int64_t num_rows = 0;
  int64_t size = 0;
  float scale = 1.0f;
  float* residual = nullptr;  // [num_rows, size]
};

// output[rows[i]] += weights[i] * input[i] for every i, as one fma for each element.
struct WeightedRowsArgs {
  const float* input = nullptr;  // [count, size], or [size] where input_stride is 0
  int64_t input_stride = 0;
  int64_t count = 0;
  int64_t size = 0;
  const int32_t* rows = nullptr;   // [count], all different
  const float* weights = nullptr;  // [count]
  float* output = nullptr;         // [rows, size]
};

// Row i of the output, or row to_rows[i], becomes row i / from_repeat of the input, or row
// from_rows[i].
struct CopyRowsArgs {
  const float* from = nullptr;
  int64_t from_stride = 0;             // floats from one row to the next
  int64_t from_repeat = 1;             // so many rows of the output come from one of the input
  const int32_t* from_rows = nullptr;  // [num_rows], or null: in order
  float* to = nullptr;
  int64_t to_stride = 0;
  const int32_t* to_rows = nullptr;  // likewise, all different
  int64_t num_rows = 0;
  int64_t size = 0;  // floats of a row
};

// Sums that lie apart, added along a tree: after root i, so many times as folds[i] says, the last
// two sums become one, left plus right. One is left in the end.
struct AddTreeArgs {
  const float* const* roots = nullptr;  // [num_roots], each [size]
  const int32_t* folds = nullptr;       // [num_roots]
  int32_t num_roots = 0;                // at most kMaxTreeRoots
  int64_t size = 0;
  float* output = nullptr;  // [size]; may be one of the roots
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
