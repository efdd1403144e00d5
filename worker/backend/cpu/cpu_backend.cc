#include "worker/backend/cpu/cpu_backend.h"

#include <algorithm>
#include <vector>

#include "shard_loader/plan/packed_layout.h"
#include "worker/tensor/convert.h"
#include "worker/tensor/thread_pool.h"

namespace tessera::worker {
namespace {

using shard_loader::kTileRows;

// Work below this, in multiplications or elements, is not worth waking a thread for.
constexpr int64_t kProductGrain = 1 << 15;
constexpr int64_t kElementGrain = 1 << 13;
// A task takes whole blocks of tiles of every kernel set, where there are enough.
constexpr int64_t kTilesPerTask = 8;
constexpr int64_t kLeastTilesPerTask = 2;

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

class CpuBackend : public Backend {
 public:
  CpuBackend(const CpuKernels& kernels, int threads) : kernels_(kernels), pool_(threads) {}

  void EmbedRows(const PackedMatrix& table, const int64_t* ids, int64_t count,
                 float* output) override {
    pool_.ParallelFor(count, [&](int64_t i) {
      for (int64_t c = 0; c < table.columns; ++c) {
        const int64_t index = shard_loader::PackedIndex(ids[i], c, table.columns, table.dtype);
        output[i * table.columns + c] = LoadElement(table.data, index, table.dtype);
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
    const bool few_rows = args.num_rows <= kernels_.block_rows;
    const int64_t panels = few_rows ? 1 : CeilDiv(args.num_rows, kPanelRows);
    // Fewer tiles to a task where there are few, so that all threads have some.
    int64_t step = few_rows ? kTilesPerTask : kPanelTiles;
    while (step > kLeastTilesPerTask && tiles * panels < 2 * step * pool_.threads()) step /= 2;
    const bool alone = pool_.threads() == 1 || tiles * work < kProductGrain;
    if (alone) step = few_rows ? tiles : kPanelTiles;
    // Panels of a block of tiles follow each other, and find its weights in the cache.
    const int64_t tasks = panels * CeilDiv(tiles, step);
    auto run = [&](int64_t task) {
      const int64_t panel = task % panels;
      const int64_t tile = task / panels * step;
      kernels_.product(args, {panel * args.num_rows / panels, (panel + 1) * args.num_rows / panels},
                       {tile, std::min(tile + step, tiles)});
    };
    if (alone) {
      for (int64_t task = 0; task < tasks; ++task) run(task);
    } else {
      pool_.ParallelFor(tasks, run);
    }
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
    CutAttention(rows, args);
    pool_.ParallelFor(static_cast<int64_t>(parts_.size()),
                      [&](int64_t task) { kernels_.attend(rows, args, cache, parts_[task]); });
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

  // Heads of one KV head go together, and with them neighbouring rows of one sequence.
  void CutAttention(const RowTable& rows, const AttentionArgs& args) {
    parts_.clear();
    for (int64_t head = 0; head < args.num_heads;) {
      int64_t end = head + 1;
      while (end < args.num_heads && end - head < kAttentionQueries &&
             args.kv_head_of[end] == args.kv_head_of[head]) {
        ++end;
      }
      const int64_t most_rows = kAttentionQueries / (end - head);
      for (int64_t row = 0; row < rows.num_rows;) {
        int64_t last = row + 1;
        while (last < rows.num_rows && last - row < most_rows &&
               rows.block_tables[last] == rows.block_tables[row]) {
          ++last;
        }
        parts_.push_back({{row, last}, {head, end}});
        row = last;
      }
      head = end;
    }
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
  std::vector<AttentionPart> parts_;  // of the call at hand
};

}  // namespace

std::unique_ptr<Backend> MakeCpuBackend(const CpuKernels& kernels, int threads) {
  return std::make_unique<CpuBackend>(kernels, threads);
}

}  // namespace tessera::worker
