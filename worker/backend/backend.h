// The operations that a decoder is made of. Every implementation fixes, for each output, which
// operations give it and in which order, whatever the number of rows and threads
// (worker/README.md, rule 1). Activations are fp32; weights and cache are widened exactly.
#ifndef TESSERA_WORKER_BACKEND_BACKEND_H_
#define TESSERA_WORKER_BACKEND_BACKEND_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "shard_loader/model/decoder_spec.h"
#include "shard_loader/plan/device_scratch.h"
#include "shard_loader/plan/lanes.h"
#include "worker/backend/drawer.h"
#include "worker/backend/mixture.h"
#include "worker/backend/ops.h"
#include "worker/tensor/memory.h"

namespace tessera::worker {

// How a product is summed: one partial sum for each lane, from zero; neighbouring ones are then
// added along the tree, left plus right, up to the roots. Immutable after it is made.
struct SumOrder {
  std::vector<SumLane> lanes;
  int num_roots = 0;

  // All columns in one sum, one root.
  static SumOrder Whole(int64_t columns);
  // The lanes that a rank owns, up to their maximal subtrees. A unit of the tree is `unit_columns`
  // columns.
  static SumOrder Lanes(const shard_loader::LaneTree& tree, shard_loader::Range owned,
                        int64_t unit_columns);
};

// Thread-compatible: one call at a time, on a thread pool of its own or on a device.
//
// Pointers are to memory(). Always on the host: ids and indices of rows, the row table, kv_head_of
// and slopes of attention, the weights of AddWeightedRows, and the lists of AddTree.
class Backend {
 public:
  virtual ~Backend() = default;

  virtual Memory& memory() = 0;
  // Makes all room that the operations of a rank need beside what they are given; from then on they
  // ask for none, and one that needs more than was planned is INTERNAL. The host has nothing to
  // make.
  virtual absl::Status Reserve(const shard_loader::DeviceScratch& scratch) = 0;
  // Draws where the logits lie; null where that is the host (worker/sampling).
  virtual Drawer* drawer() = 0;
  // Experts where the rows lie; null where that is the host (worker/model).
  virtual Mixture* mixture() = 0;

  // output[i] = row ids[i] of the packed `table`: a copy. ids: [count], each below table.rows, or
  // where there is a drawer a DrawnId.
  virtual void EmbedRows(const PackedMatrix& table, const int64_t* ids, int64_t count,
                         float* output) = 0;
  // output = weight * (input normed as NormKind says) + bias, row by row.
  virtual void Norm(const NormArgs& args) = 0;
  // output[r] = the sum of the squares of row r. input: [num_rows, size].
  virtual void SquareSums(const float* input, int64_t num_rows, int64_t size, float* output) = 0;
  // output[root][r][n] = sum over the root's columns of input[r][k] * weights[n][k], plus bias[n].
  virtual void Product(const ProductArgs& args) = 0;
  // Rotates the pairs of every head by the row's angles, then writes keys and values, narrowed to
  // the cache's dtype, at the rows' positions.
  virtual void RopeAndStore(const RowTable& rows, const RopeArgs& args, const KvLayer& cache) = 0;
  // Softmax attention over the keys in the cache, in tiles of 256 positions from 0, each reduced
  // alone and merged in ascending order. Keys that a row does not see are not touched.
  virtual void Attend(const RowTable& rows, const AttentionArgs& args, const KvLayer& cache) = 0;
  virtual void Activate(const ActivationArgs& args) = 0;
  virtual void AddToResidual(const ResidualArgs& args) = 0;
  virtual void AddWeightedRows(const WeightedRowsArgs& args) = 0;
  // data = scale * data; above 0, `cap` then makes it cap * tanh(data / cap). data: [size].
  virtual void ScaleAndCap(float scale, float cap, int64_t size, float* data) = 0;
  virtual void CopyRows(const CopyRowsArgs& args) = 0;
  virtual void AddTree(const AddTreeArgs& args) = 0;
  // Runs `operations`, calls of this backend alone that are the same every time: with the same
  // arguments but for `rows`, whose positions and blocks may change while their number does not,
  // and with `rows` themselves one token of a sequence each, or padding (position -1: nothing is
  // stored or attended for it). A device may repeat what they did the last time instead of calling
  // them.
  virtual absl::Status Repeat(const RowTable& rows,
                              absl::FunctionRef<absl::Status()> operations) = 0;
  // exp(input - maximum of its block), and the blocks' maxima and sums.
  virtual void SoftmaxBlocks(const SoftmaxBlocksArgs& args) = 0;
};

// Backend::CopyRows and Backend::AddTree for memory of this host.
void CopyHostRows(const CopyRowsArgs& args);
void AddHostTree(const AddTreeArgs& args);

// `kernel_set` as ResolveKernelSet gave it; errors are the same. `threads` counts the caller; each
// stays on one of `cpus`, the caller on the first, unless there are none.
absl::StatusOr<std::unique_ptr<Backend>> MakeBackend(absl::string_view kernel_set, int threads,
                                                     const std::vector<int>& cpus = {});

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_BACKEND_BACKEND_H_
