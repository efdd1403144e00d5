// The kernels of one instruction set. There is one source for each kernel (*_kernels.inc), written
// over a vector of 16 floats; every instruction set compiles it over its own vector (vec_*.inc),
// inside an anonymous namespace, so that no function compiled for one set can be linked into
// another. All sets give equal bits.
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

// Queries that walk over a sequence's cache together.
inline constexpr int64_t kAttentionQueries = 24;

// Neighbouring rows of one sequence, and heads of one KV head: at most kAttentionQueries of both.
struct AttentionPart {
  Slice rows;
  Slice heads;
};

struct CpuKernels {
  const char* name;
  int64_t block_rows;  // up to so many rows walk over the weights together, and over any tiles
  void (*product)(const ProductArgs& args, Slice rows, Slice tiles);
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
};

extern const CpuKernels kGenericKernels;
extern const CpuKernels kAvx2Kernels;
extern const CpuKernels kAvx512Kernels;

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_BACKEND_CPU_KERNELS_H_
