#include "worker/backend/cpu/cpu_backend.h"

#include <algorithm>

#include "shard_loader/plan/packed_layout.h"
#include "worker/tensor/convert.h"
#include "worker/tensor/thread_pool.h"

namespace tessera::worker {
namespace {

using shard_loader::kTileRows;

// Work below this, in multiplications or elements, is not worth waking a thread for.
constexpr int64_t kProductGrain = 1 << 15;
constexpr int64_t kElementGrain = 1 << 13;
// Rows that pass over a block of weights while it stays in the cache.
constexpr int64_t kRowsPerTask = 48;
// A task takes whole blocks of tiles of every kernel set.
constexpr int64_t kTilesPerTask = 8;

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

class CpuBackend : public Backend {
 public:
  CpuBackend(const CpuKernels& kernels, int threads) : kernels_(kernels), pool_(threads) {}

  void EmbedRows(const PackedMatrix& table, const int64_t* ids, int64_t count,
                 float* output) override {
    pool_.ParallelFor(count, [&](int64_t i) {
      const int64_t first = shard_loader::PackedIndex(ids[i], 0, table.columns);
      for (int64_t c = 0; c < table.columns; ++c) {
        output[i * table.columns + c] = LoadElement(table.data, first + c * kTileRows, table.dtype);
      }
    });
  }

  void Norm(const NormArgs& args) override {
    Split(args.num_rows, args.size, kElementGrain, [&](Slice rows) { kernels_.norm(args, rows); });
  }

  void SquareSums(const float* input, int64_t num_rows, int64_t size, float* output) override {
    Split(num_rows, size, kElementGrain,
          [&](Slice rows) { kernels_.square_sums(input, size, rows, output); });
  }

  void Product(const ProductArgs& args) override {
    const int64_t tiles = CeilDiv(args.weights.rows, kTileRows);
    const int64_t work = args.num_rows * args.weights.columns * kTileRows;
    // Fewer tiles to a task where there are few, so that all threads have some.
    int64_t step = kTilesPerTask;
    while (step > 4 && tiles < step * pool_.threads()) step /= 2;
    if (pool_.threads() == 1 || tiles * work < kProductGrain) step = tiles;
    const int64_t columns = CeilDiv(tiles, step);
    const int64_t row_chunks = CeilDiv(args.num_rows, kRowsPerTask);
    pool_.ParallelFor(columns * row_chunks, [&](int64_t task) {
      const int64_t row = task % row_chunks * kRowsPerTask;
      const int64_t tile = task / row_chunks * step;
      kernels_.product(args, {row, std::min(row + kRowsPerTask, args.num_rows)},
                       {tile, std::min(tile + step, tiles)});
    });
  }

  void RopeAndStore(const RowTable& rows, const RopeArgs& args, const KvLayer& cache) override {
    const int64_t elements = args.num_heads * cache.head_size +
                             cache.num_kv_heads * (cache.head_size + cache.value_size);
    Split(rows.num_rows, elements, kElementGrain, [&](Slice part) {
      for (int64_t row = part.begin; row < part.end; ++row) {
        kernels_.rope_and_store(rows, args, cache, row);
      }
    });
  }

  void Attend(const RowTable& rows, const AttentionArgs& args, const KvLayer& cache) override {
    pool_.ParallelFor(rows.num_rows * args.num_heads, [&](int64_t task) {
      // Heads side by side over the same rows keep their keys in the cache.
      kernels_.attend(rows, args, cache, task % rows.num_rows, task / rows.num_rows);
    });
  }

  void Activate(const ActivationArgs& args) override {
    SplitElements(args.size, [&](Slice elements) { kernels_.activate(args, elements); });
  }

  void AddToResidual(const ResidualArgs& args) override {
    Split(args.num_rows, args.size, kElementGrain,
          [&](Slice rows) { kernels_.add_to_residual(args, rows); });
  }

  void AddWeightedRows(const WeightedRowsArgs& args) override {
    Split(args.count, args.size, kElementGrain,
          [&](Slice parts) { kernels_.add_weighted_rows(args, parts); });
  }

  void ScaleAndCap(float scale, float cap, int64_t size, float* data) override {
    SplitElements(size,
                  [&](Slice elements) { kernels_.scale_and_cap(scale, cap, elements, data); });
  }

  void SoftmaxBlocks(const SoftmaxBlocksArgs& args) override {
    Split(CeilDiv(args.size, args.block), args.block, kElementGrain, [&](Slice blocks) {
      for (int64_t b = blocks.begin; b < blocks.end; ++b) kernels_.softmax_block(args, b);
    });
  }

 private:
  // body(Slice) over [0, size) in whole vectors.
  template <typename Body>
  void SplitElements(int64_t size, const Body& body) {
    Split(CeilDiv(size, kTileRows), kTileRows, kElementGrain, [&](Slice part) {
      body(Slice{part.begin * kTileRows, std::min(part.end * kTileRows, size)});
    });
  }

  // body(Slice) over [0, count) in parts of at least `grain` of work, `cost` each.
  template <typename Body>
  void Split(int64_t count, int64_t cost, int64_t grain, const Body& body) {
    if (count == 0) return;
    const int64_t step = std::max(CeilDiv(grain, std::max<int64_t>(1, cost)),
                                  CeilDiv(count, 4 * int64_t{pool_.threads()}));
    pool_.ParallelFor(CeilDiv(count, step), [&](int64_t part) {
      body(Slice{part * step, std::min(part * step + step, count)});
    });
  }

  const CpuKernels& kernels_;
  ThreadPool pool_;
};

}  // namespace

std::unique_ptr<Backend> MakeCpuBackend(const CpuKernels& kernels, int threads) {
  return std::make_unique<CpuBackend>(kernels, threads);
}

}  // namespace tessera::worker
