// The kernels of one instruction set. There is one source for each kernel (*_kernels.inc), written
// over a vector of 16 floats; every instruction set compiles it over its own vector (vec_*.inc),
// inside an anonymous namespace, so that no function compiled for one set can be linked into
// another. Sets of one numerics (kernel_sets.h) give equal bits.
#ifndef TESSERA_WORKER_BACKEND_CPU_KERNELS_H_
#define TESSERA_WORKER_BACKEND_CPU_KERNELS_H_

#include <cstdint>

#include "worker/backend/ops.h"

namespace tessera::worker {

// Outputs [begin, end) of some dimension.
struct Slice {
  int64_t begin = 0;
  int64_t end = 0;
};

// A product's task has at most so many rows and tiles; inputs of so many columns lie side by side.
inline constexpr int64_t kPanelRows = 48;
inline constexpr int64_t kPanelTiles = 32;
inline constexpr int64_t kPanelColumns = 256;
inline constexpr int64_t kPrefetchBytes = 1024;  // ahead, in every tile
// Codes are fewer bytes for as many instructions: fetched far ahead, in all tiles together, and
// into the second cache. On Zen 4 fetches into the first one made the instructions wait: one row of
// int4 ran at 0.66 of the speed of memory, and at 0.87 so.
inline constexpr int64_t kCodesPrefetchBytes = 32768;

// Queries that walk over a sequence's cache together.
inline constexpr int64_t kAttentionQueries = 24;

// Neighbouring rows of one sequence, and heads of one KV head: at most kAttentionQueries of both.
struct AttentionPart {
  Slice rows;
  Slice heads;
};

// The columns of one group within one lane: what a product of codes sums as integers.
struct CodedSegment {
  int64_t begin = 0;  // columns
  int64_t end = 0;
  int64_t lane = 0;
  int64_t group = 0;
  int64_t block = 0;   // the first block of 8 columns that it touches
  int64_t blocks = 0;  // and how many
  int64_t codes = 0;   // where its blocks begin among the codes of a row's inputs
};

// A product with a coded matrix, and its inputs as integers.
struct CodedProduct {
  ProductArgs product;
  int64_t tile_bytes = 0;
  int64_t scale_offset = 0;  // bytes, in a tile
  int64_t minimum_offset = 0;
  const CodedSegment* segments = nullptr;
  int64_t num_segments = 0;
  int64_t code_stride = 0;  // bytes
  int8_t* codes = nullptr;  // [rows][code_stride]: zero where a block leaves its segment
  float* scales = nullptr;  // [rows, num_segments]
  int32_t* sums = nullptr;  // [rows, num_segments]: of the codes
};

// Behind the last row's codes or pairs there is room for so many rows, whose contents do not
// matter: a set may read whole blocks of rows.
inline constexpr int64_t kRowsBehind = 15;
// A lane's pairs begin at multiples of so many, with zeros behind them.
inline constexpr int64_t kPairAlignment = 16;

// A product with a matrix in bf16 whose inputs are narrowed to bf16 too: each lane's in pairs of
// columns, counted from its own first one.
struct PairProduct {
  ProductArgs product;
  int64_t stride = 0;                   // pairs from one row to the next, with room behind them
  const int64_t* lane_pairs = nullptr;  // [lanes]: where each lane's begin in a row
  uint32_t* pairs = nullptr;            // [rows][stride]
};

struct CpuKernels {
  const char* name;
  int64_t block_rows;  // up to so many rows walk over the weights together, and over any tiles
  int64_t dot_rows;    // likewise, over codes
  void (*product)(const ProductArgs& args, Slice rows, Slice tiles);
  void (*code_rows)(const CodedProduct& args, Slice rows);
  void (*product_coded)(const CodedProduct& args, Slice rows, Slice tiles);
  void (*norm)(const NormArgs& args, Slice rows);
  void (*square_sums)(const float* input, int64_t size, Slice rows, float* output);
  void (*rope_and_store)(const RowTable& rows, const RopeArgs& args, const KvLayer& cache,
                         int64_t row);
  void (*attend)(const RowTable& rows, const AttentionArgs& args, const KvLayer& cache,
                 const AttentionPart& part);
  void (*activate)(const ActivationArgs& args, Slice elements);
  void (*add_to_residual)(const ResidualArgs& args, Slice rows);
  void (*add_weighted_rows)(const WeightedRowsArgs& args, Slice parts);
  void (*scale_and_cap)(float scale, float cap, Slice elements, float* data);
  void (*softmax_block)(const SoftmaxBlocksArgs& args, int64_t block);
  // Of a set that takes dot instructions for matrices in bf16 (DotKernels); else 0 and null.
  int64_t pair_rows = 0;  // as block_rows
  void (*narrow_rows)(const PairProduct& args, Slice rows) = nullptr;
  void (*product_of_pairs)(const PairProduct& args, Slice rows, Slice tiles) = nullptr;
};

// What a set does by other instructions than the set that it is built on: where null, the same.
struct DotKernels {
  int64_t pair_rows = 0;
  void (*narrow_rows)(const PairProduct& args, Slice rows) = nullptr;
  void (*product_of_pairs)(const PairProduct& args, Slice rows, Slice tiles) = nullptr;
  int64_t dot_rows = 0;
  void (*product_coded)(const CodedProduct& args, Slice rows, Slice tiles) = nullptr;
};

extern const CpuKernels kGenericKernels;
extern const CpuKernels kAvx2Kernels;
extern const CpuKernels kAvx512Kernels;
extern const CpuKernels kAvx512VnniKernels;
extern const DotKernels kAvx512Bf16Kernels;
extern const DotKernels kAmxKernels;

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_BACKEND_CPU_KERNELS_H_
