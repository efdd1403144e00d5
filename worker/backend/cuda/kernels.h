// The operations of worker/backend/backend.h as launches on a stream: pointers are the device's,
// except where they are said to be the host's. All return a cudaError_t, of the launch alone.
#ifndef TESSERA_WORKER_BACKEND_CUDA_KERNELS_H_
#define TESSERA_WORKER_BACKEND_CUDA_KERNELS_H_

#include <cstdint>

#include "worker/backend/ops.h"

struct CUstream_st;

namespace tessera::worker::cuda {

// How sums along a row and products are ordered: part of the numerics.
enum class Order {
  kFma16,  // that of worker/backend/cpu, element for element
  kWide,   // 256 accumulators along a row; products of 16 bits by the mma instruction
};

// The rows of a step in device memory.
struct DeviceRows {
  int64_t num_rows = 0;
  const int32_t* positions = nullptr;    // [num_rows]; below 0: padding, which is not computed
  const int32_t* table_begin = nullptr;  // [num_rows]: where the row's blocks begin in `blocks`
  const uint32_t* blocks = nullptr;
};

// Rows of one sequence that share the keys that they read. Made on the host.
struct RowGroup {
  int32_t first = 0;
  int32_t count = 0;
};

// A range of columns that is summed alone (SumLane), as a kernel's argument.
struct LaneEntry {
  int32_t begin = 0;
  int32_t end = 0;
  int16_t folds = 0;
  int16_t root = -1;
};
inline constexpr int kMaxLaneEntries = 64;
struct LaneList {
  int count = 0;
  LaneEntry lanes[kMaxLaneEntries];
};

int EmbedRows(const PackedMatrix& table, const int64_t* ids, int64_t count, float* output,
              CUstream_st* stream);
int Norm(const NormArgs& args, Order order, CUstream_st* stream);
int SquareSums(const float* input, int64_t num_rows, int64_t size, float* output, Order order,
               CUstream_st* stream);
int Activate(const ActivationArgs& args, CUstream_st* stream);
int AddToResidual(const ResidualArgs& args, CUstream_st* stream);
int AddWeightedRows(const WeightedRowsArgs& args, CUstream_st* stream);
int ScaleAndCap(float scale, float cap, int64_t size, float* data, CUstream_st* stream);
int SoftmaxBlocks(const SoftmaxBlocksArgs& args, CUstream_st* stream);
// Likewise of `num_rows` rows that lie side by side: input and exponentials [num_rows, size],
// maxima and sums [num_rows, blocks].
int SoftmaxBlocksOfRows(const SoftmaxBlocksArgs& args, int64_t num_rows, CUstream_st* stream);
int CopyRows(const CopyRowsArgs& args, CUstream_st* stream);
// The lists of roots and folds are the host's.
int AddTree(const AddTreeArgs& args, CUstream_st* stream);

int RopeAndStore(const DeviceRows& rows, const RopeArgs& args, const KvLayer& cache,
                 CUstream_st* stream);

// Rows of a product that go to one of several matrices: a block of threads takes one tile.
struct GroupTile {
  int32_t matrix = 0;
  int32_t first = 0;  // row of the inputs
  int32_t count = 0;
};
// Matrices of one shape that lie at equal distances, and the rows that go to each. The tiles are
// the device's, made there: their number is known there alone.
struct Grouping {
  const GroupTile* tiles = nullptr;  // null: all rows go to the product's only matrix
  const int32_t* num_tiles = nullptr;
  int64_t max_tiles = 0;
  int64_t tile_rows = 0;    // at most: 1, 8 or 32
  int64_t stride = 0;       // bytes from one matrix to the next
  int64_t bias_stride = 0;  // floats, likewise
};

// Any dtype, in the order of worker/backend/cpu. args.lanes is not read.
int ProductFma(const ProductArgs& args, const LaneList& lanes, const Grouping& groups,
               CUstream_st* stream);
// Weights of 16 bits. `narrowed`: room for num_rows x NarrowedStride(columns) elements of 16 bits,
// which this fills.
int ProductMma(const ProductArgs& args, const LaneList& lanes, const Grouping& groups,
               void* narrowed, CUstream_st* stream);
// Columns of a narrowed row, padded so that 16 bytes can be copied from any multiple of 8.
constexpr int64_t NarrowedStride(int64_t columns) { return (columns + 63) / 64 * 64; }

// The columns of one group within one lane: what a product of codes sums as integers.
struct CodedSegment {
  int32_t begin = 0;  // columns
  int32_t end = 0;
  int32_t lane = 0;
  int32_t group = 0;
  int32_t block = 0;   // the first block of 8 columns that it touches
  int32_t blocks = 0;  // and how many
  int32_t codes = 0;   // where its blocks begin among the codes of a row's inputs
  int32_t unused = 0;
};
struct CodedProduct {
  ProductArgs product;
  int64_t tile_bytes = 0;
  int64_t scale_offset = 0;  // bytes, in a tile
  int64_t minimum_offset = 0;
  const CodedSegment* segments = nullptr;  // the device's
  int64_t num_segments = 0;
  int64_t code_stride = 0;  // bytes
  int8_t* codes = nullptr;  // [rows][code_stride]; this fills them
  float* scales = nullptr;  // [rows, num_segments], likewise
  int32_t* sums = nullptr;  // [rows, num_segments]: of the codes, likewise
};
// Lanes as for Order::kFma16. Weights of 8 or 4 bits; grouped ones all have the same segments.
int ProductCoded(const CodedProduct& args, const LaneList& lanes, const Grouping& groups,
                 CUstream_st* stream);
struct CodedTable {
  PackedMatrix matrix;
  int64_t tile_bytes = 0;
  int64_t scale_offset = 0;
  int64_t minimum_offset = 0;
  const int64_t* groups = nullptr;  // [num_groups + 1], the device's
};
int EmbedCodedRows(const CodedTable& table, const int64_t* ids, int64_t count, float* output,
                   CUstream_st* stream);

// An expert that a row chose; a row's are ascending by expert.
struct Choice {
  int32_t expert = 0;
  float weight = 0;
};
struct RouteKernelArgs {
  const float* logits = nullptr;      // [num_rows, experts]
  const float* correction = nullptr;  // [experts], or null
  Choice* choices = nullptr;          // [num_rows, per_token]: filled
  int64_t num_rows = 0;
  int32_t experts = 0;
  int32_t per_token = 0;
  int32_t num_groups = 1;
  int32_t groups_per_token = 1;
  bool group_by_two = false;
  bool sigmoid = false;
  bool renormalise = false;
  float routed_scale = 1.0f;
};
int RouteRows(const RouteKernelArgs& args, CUstream_st* stream);
// Pairs of a row and one of experts [first_expert, first_expert + num_experts), by expert and row.
struct GroupRowsArgs {
  const Choice* choices = nullptr;  // [num_rows, per_token]
  int64_t num_rows = 0;
  int32_t per_token = 0;
  int32_t first_expert = 0;
  int32_t num_experts = 0;
  int32_t tile_rows = 0;
  int32_t* pair_of = nullptr;    // [num_rows, per_token]: filled; -1: not one of these experts
  int32_t* pair_rows = nullptr;  // [pairs]: filled
  GroupTile* tiles = nullptr;    // filled
  int32_t* num_tiles = nullptr;  // likewise
};
int GroupRows(const GroupRowsArgs& args, CUstream_st* stream);
// Row p of the output becomes row pair_rows[p] of the input, for all pairs in the tiles.
int GatherPairs(const Grouping& groups, const int32_t* pair_rows, const float* input, int64_t size,
                float* output, CUstream_st* stream);
struct AddPairsArgs {
  const Choice* choices = nullptr;  // [num_rows, per_token]
  const int32_t* pair_of = nullptr;
  int64_t num_rows = 0;
  int32_t per_token = 0;
  int32_t first_expert = 0;
  const float* parts = nullptr;  // [parts][pairs, size]
  int64_t part_stride = 0;
  const int32_t* sum_of = nullptr;  // [num_experts]: the sum of an expert's only part; or null
  int64_t size = 0;
  int32_t num_sums = 0;
  float* sums = nullptr;  // [num_sums][num_rows, size]: filled
  int64_t sum_stride = 0;
};
int AddPairs(const AddPairsArgs& args, CUstream_st* stream);
// output[r] += weight * bias[expert], for the choices of row r in turn.
int AddChosenBiases(const Choice* choices, int32_t per_token, const float* bias, int64_t num_rows,
                    int64_t size, float* output, CUstream_st* stream);
// output[r] += sigmoid(gates[r]) * input[r].
int AddGatedRows(const float* gates, const float* input, int64_t num_rows, int64_t size,
                 float* output, CUstream_st* stream);

// args.kv_head_of is the device's.
int AttendFma(const DeviceRows& rows, const AttentionArgs& args, const KvLayer& cache,
              CUstream_st* stream);

// Whether AttendMma can: a function of the model alone.
bool CanAttendMma(const KvLayer& cache);
// The query heads of every KV head, contiguous.
inline constexpr int kMaxKvHeads = 256;
struct HeadGroups {
  int32_t largest = 0;
  int16_t begin[kMaxKvHeads + 1] = {};
};
// How AttendMma is cut; changes no bit.
struct AttentionCut {
  bool prefill = false;              // groups of several rows: more queries to a block
  const RowGroup* groups = nullptr;  // [num_groups], the device's
  int64_t num_groups = 0;
  int64_t num_tiles = 0;     // of kAttentionTile keys, of the longest row
  float* scratch = nullptr;  // [AttentionScratchFloats]: every tile in a block of its own; or null
};
int64_t AttentionScratchFloats(int64_t num_rows, int64_t num_heads, int64_t value_size,
                               int64_t num_tiles);
// (row, head) pairs that a block takes: a RowGroup has at most so many rows x heads of a KV head,
// or one row.
int QueriesOfBlock(int64_t value_size, bool prefill);
int AttendMma(const DeviceRows& rows, const AttentionArgs& args, const KvLayer& cache,
              const HeadGroups& heads, const AttentionCut& cut, CUstream_st* stream);

}  // namespace tessera::worker::cuda

#endif  // TESSERA_WORKER_BACKEND_CUDA_KERNELS_H_
