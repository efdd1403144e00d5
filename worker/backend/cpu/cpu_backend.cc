#include "worker/backend/cpu/cpu_backend.h"

#include <algorithm>
#include <vector>

#include "shard_loader/plan/packed_layout.h"
#include "shard_loader/plan/rounding.h"
#include "worker/backend/coded_matrix.h"
#include "worker/tensor/thread_pool.h"

namespace tessera::worker {
namespace {

using shard_loader::CeilDiv;
using shard_loader::Codes;
using shard_loader::DType;
using shard_loader::kTileRows;

// Work below this, in multiplications or elements, is not worth waking a thread for.
constexpr int64_t kProductGrain = 1 << 15;
constexpr int64_t kElementGrain = 1 << 13;
// A task takes whole blocks of tiles of every kernel set, where there are enough.
constexpr int64_t kTilesPerTask = 8;
constexpr int64_t kLeastTilesPerTask = 2;
constexpr int64_t kCodedRows = 96;  // whose codes are held at a time

class CpuBackend : public Backend {
 public:
  CpuBackend(const CpuKernels& kernels, int threads, const std::vector<int>& cpus)
      : kernels_(kernels), pool_(threads, cpus) {}

  Memory& memory() override { return HostMemory(); }
  absl::Status Reserve(const shard_loader::DeviceScratch&) override { return absl::OkStatus(); }
  Drawer* drawer() override { return nullptr; }
  Mixture* mixture() override { return nullptr; }

  void EmbedRows(const PackedMatrix& table, const int64_t* ids, int64_t count,
                 float* output) override {
    pool_.ParallelFor(count,
                      [&](int64_t i) { ReadRow(table, ids[i], output + i * table.columns); });
  }

  void Norm(const NormArgs& args) override {
    Split(args.num_rows, args.size, kElementGrain, [&](Slice rows) { kernels_.norm(args, rows); });
  }

  void SquareSums(const float* input, int64_t num_rows, int64_t size, float* output) override {
    Split(num_rows, size, kElementGrain,
          [&](Slice rows) { kernels_.square_sums(input, size, rows, output); });
  }

  void Product(const ProductArgs& args) override {
    if (args.weights.codes != Codes::kNone) return ProductCoded(args);
    if (args.weights.dtype == DType::kBF16 && kernels_.product_of_pairs != nullptr) {
      return ProductOfPairs(args);
    }
    ForProductParts(args, kernels_.block_rows,
                    [&](Slice rows, Slice tiles) { kernels_.product(args, rows, tiles); });
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

  void CopyRows(const CopyRowsArgs& args) override { CopyHostRows(args); }

  absl::Status Repeat(const RowTable&, absl::FunctionRef<absl::Status()> operations) override {
    return operations();
  }

  void AddTree(const AddTreeArgs& args) override { AddHostTree(args); }

  void SoftmaxBlocks(const SoftmaxBlocksArgs& args) override {
    Split(CeilDiv(args.size, args.block), args.block, kElementGrain, [&](Slice blocks) {
      for (int64_t b = blocks.begin; b < blocks.end; ++b) kernels_.softmax_block(args, b);
    });
  }

 private:
  // body(rows, tiles) for parts of a product, as many as there are threads for. Up to `block_rows`
  // rows stay together.
  template <typename Body>
  void ForProductParts(const ProductArgs& args, int64_t block_rows, const Body& body) {
    const int64_t tiles = CeilDiv(args.weights.rows, kTileRows);
    const int64_t work = args.num_rows * args.weights.columns * kTileRows;
    const bool few_rows = args.num_rows <= block_rows;
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
      body(Slice{panel * args.num_rows / panels, (panel + 1) * args.num_rows / panels},
           Slice{tile, std::min(tile + step, tiles)});
    };
    if (alone) {
      for (int64_t task = 0; task < tasks; ++task) run(task);
    } else {
      pool_.ParallelFor(tasks, run);
    }
  }

  // So many rows at a time that their codes stay small.
  void ProductCoded(const ProductArgs& args) {
    const PackedMatrix& weights = args.weights;
    CodedProduct coded;
    coded.product = args;
    const shard_loader::CodedTile tile =
        shard_loader::MakeCodedTile(weights.codes, weights.columns, weights.num_groups);
    coded.tile_bytes = tile.bytes;
    coded.scale_offset = tile.scales;
    coded.minimum_offset = tile.minima;
    coded.code_stride = CutSegments(args);
    coded.segments = segments_.data();
    coded.num_segments = static_cast<int64_t>(segments_.size());
    const int64_t most = std::min(args.num_rows, kCodedRows) + kRowsBehind;
    codes_.resize(std::max<size_t>(codes_.size(), most * coded.code_stride));
    code_scales_.resize(std::max<size_t>(code_scales_.size(), most * coded.num_segments));
    code_sums_.resize(code_scales_.size());
    coded.codes = codes_.data();
    coded.scales = code_scales_.data();
    coded.sums = code_sums_.data();
    for (int64_t row = 0; row < args.num_rows; row += kCodedRows) {
      coded.product.input = args.input + row * weights.columns;
      coded.product.output = args.output + row * weights.rows;
      coded.product.num_rows = std::min(kCodedRows, args.num_rows - row);
      Split(coded.product.num_rows, weights.columns, kElementGrain,
            [&](Slice rows) { kernels_.code_rows(coded, rows); });
      ForProductParts(coded.product, kernels_.dot_rows,
                      [&](Slice rows, Slice tiles) { kernels_.product_coded(coded, rows, tiles); });
    }
  }

  // Likewise.
  void ProductOfPairs(const ProductArgs& args) {
    PairProduct pairs;
    pairs.product = args;
    lane_pairs_.clear();
    int64_t next = 0;
    for (int64_t i = 0; i < args.num_lanes; ++i) {
      lane_pairs_.push_back(next);
      next += CeilDiv(args.lanes[i].end - args.lanes[i].begin, 2 * kPairAlignment) * kPairAlignment;
    }
    pairs.lane_pairs = lane_pairs_.data();
    // A line more than they take: room for a vector's end, and rows that do not meet in the cache's
    // sets.
    pairs.stride = next + kPairAlignment;
    const int64_t most = std::min(args.num_rows, kCodedRows) + kRowsBehind;
    pairs_.resize(std::max<size_t>(pairs_.size(), most * pairs.stride));
    pairs.pairs = pairs_.data();
    for (int64_t row = 0; row < args.num_rows; row += kCodedRows) {
      pairs.product.input = args.input + row * args.weights.columns;
      pairs.product.output = args.output + row * args.weights.rows;
      pairs.product.num_rows = std::min(kCodedRows, args.num_rows - row);
      Split(pairs.product.num_rows, args.weights.columns, kElementGrain,
            [&](Slice rows) { kernels_.narrow_rows(pairs, rows); });
      ForProductParts(pairs.product, kernels_.pair_rows, [&](Slice rows, Slice tiles) {
        kernels_.product_of_pairs(pairs, rows, tiles);
      });
    }
  }

  // Fills segments_: the groups within the lanes. Returns the bytes of a row's codes, a line more
  // than they take, so that rows do not meet in the cache's sets.
  int64_t CutSegments(const ProductArgs& args) {
    segments_.clear();
    int64_t next = 0;
    for (int64_t lane = 0; lane < args.num_lanes; ++lane) {
      int64_t begin = args.lanes[lane].begin;
      int64_t group = GroupOf(args.weights, begin);
      for (; begin < args.lanes[lane].end; ++group) {
        const int64_t end = std::min(args.lanes[lane].end, args.weights.groups[group + 1]);
        const int64_t block = begin / 8;
        const int64_t blocks = CeilDiv(end, 8) - block;
        segments_.push_back({begin, end, lane, group, block, blocks, next});
        next += blocks * 8;
        begin = end;
      }
    }
    return CeilDiv(next, 64) * 64 + 64;
  }

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

  const CpuKernels kernels_;
  ThreadPool pool_;
  // Of the call at hand.
  std::vector<AttentionPart> parts_;
  std::vector<CodedSegment> segments_;
  std::vector<int8_t> codes_;
  std::vector<float> code_scales_;
  std::vector<int32_t> code_sums_;
  std::vector<int64_t> lane_pairs_;
  std::vector<uint32_t> pairs_;
};

}  // namespace

std::unique_ptr<Backend> MakeCpuBackend(const CpuKernels& kernels, const DotKernels* pairs,
                                        const DotKernels* codes, int threads,
                                        const std::vector<int>& cpus) {
  CpuKernels all = kernels;
  if (pairs != nullptr) {
    all.pair_rows = pairs->pair_rows;
    all.narrow_rows = pairs->narrow_rows;
    all.product_of_pairs = pairs->product_of_pairs;
  }
  if (codes != nullptr) {
    all.dot_rows = codes->dot_rows;
    all.product_coded = codes->product_coded;
  }
  return std::make_unique<CpuBackend>(all, threads, cpus);
}

}  // namespace tessera::worker
