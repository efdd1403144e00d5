#include "worker/backend/cuda/cuda_backend.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "shard_loader/plan/device_scratch.h"
#include "shard_loader/plan/rounding.h"
#include "shard_loader/plan/workspace.h"
#include "shard_loader/status_macros.h"
#include "worker/backend/cuda/coded.h"
#include "worker/backend/cuda/cuda_drawer.h"
#include "worker/backend/cuda/cuda_mixture.h"
#include "worker/backend/cuda/device_memory.h"
#include "worker/backend/cuda/graph.h"
#include "worker/backend/cuda/product_table.h"
#include "worker/backend/cuda/scratch.h"

namespace tessera::worker::cuda {
namespace {

using shard_loader::CeilDiv;
using shard_loader::kKvBlockTokens;

// A row table as the device reads it: one array, so that one copy brings it there.
struct PackedRows {
  std::vector<int32_t> words;
  int64_t num_rows = 0;
  int64_t table_begin = 0;  // index into words
  int64_t groups = 0;
  int64_t blocks = 0;
  int64_t num_groups = 0;
  int64_t longest = 0;  // keys of the longest row
  bool prefill = false;
};

// Whether row r goes on where the row before it ends, in the same sequence.
bool Continues(const RowTable& rows, int64_t r) {
  return r > 0 && rows.positions[r] > 0 && rows.block_tables[r] == rows.block_tables[r - 1] &&
         rows.positions[r] == rows.positions[r - 1] + 1;
}

PackedRows Pack(const RowTable& rows, int64_t max_group_rows) {
  PackedRows packed;
  packed.num_rows = rows.num_rows;
  packed.words.assign(rows.positions, rows.positions + rows.num_rows);
  packed.table_begin = packed.num_rows;
  packed.groups = 2 * packed.num_rows;
  packed.blocks = 4 * packed.num_rows;  // last, because their number changes
  packed.words.resize(packed.blocks);
  std::vector<int32_t> tables;
  std::vector<RowGroup> groups;
  for (int64_t r = 0; r < rows.num_rows; ++r) {
    const int32_t position = rows.positions[r];
    if (position < 0) {  // padding
      groups.push_back({static_cast<int32_t>(r), 0});
      continue;
    }
    const bool continues = Continues(rows, r);
    // The table of a sequence is taken once, as long as its last row needs it.
    if (!continues) {
      int64_t last = r;
      while (last + 1 < rows.num_rows && Continues(rows, last + 1)) ++last;
      packed.words[packed.table_begin + r] = static_cast<int32_t>(tables.size());
      const int64_t count = rows.positions[last] / kKvBlockTokens + 1;
      for (int64_t b = 0; b < count; ++b) {
        tables.push_back(static_cast<int32_t>(rows.block_tables[r][b]));
      }
    } else {
      packed.words[packed.table_begin + r] = packed.words[packed.table_begin + r - 1];
    }
    if (continues && groups.back().count < max_group_rows) {
      ++groups.back().count;
    } else {
      groups.push_back({static_cast<int32_t>(r), 1});
    }
    packed.prefill |= continues;
    packed.longest = std::max<int64_t>(packed.longest, int64_t{position} + 1);
  }
  packed.num_groups = static_cast<int64_t>(groups.size());
  for (size_t g = 0; g < groups.size(); ++g) {
    packed.words[packed.groups + 2 * g] = groups[g].first;
    packed.words[packed.groups + 2 * g + 1] = groups[g].count;
  }
  packed.words.insert(packed.words.end(), tables.begin(), tables.end());
  return packed;
}

class CudaBackend final : public Backend {
 public:
  CudaBackend(std::unique_ptr<DeviceMemory> memory, Order order)
      : memory_(std::move(memory)),
        order_(order),
        constants_(*memory_),
        rows_(*memory_, "the rows of a step", &moves_),
        indices_(*memory_, "indices of a step", &moves_),
        narrowed_(*memory_, "narrowed inputs", &moves_),
        tiles_(*memory_, "tiles of attention", &moves_),
        coded_(*memory_, &constants_, &moves_),
        drawer_(memory_.get(), &moves_),
        mixture_(
            *memory_, &constants_, order,
            [this](const ProductArgs& args, const Grouping& groups) { Multiply(args, groups); },
            &moves_) {}
  ~CudaBackend() override { memory_->Finish().IgnoreError(); }

  Memory& memory() override { return *memory_; }

  absl::Status Reserve(const shard_loader::DeviceScratch& scratch) override {
    RETURN_IF_ERROR(rows_.Reserve(scratch.rows));
    RETURN_IF_ERROR(indices_.Reserve(scratch.indices));
    RETURN_IF_ERROR(narrowed_.Reserve(scratch.narrowed));
    RETURN_IF_ERROR(tiles_.Reserve(scratch.tiles));
    RETURN_IF_ERROR(coded_.Reserve(scratch.codes));
    RETURN_IF_ERROR(constants_.Reserve(scratch.constants));
    RETURN_IF_ERROR(mixture_.Reserve(scratch));
    return drawer_.Reserve(scratch);
  }

  Drawer* drawer() override { return &drawer_; }
  Mixture* mixture() override { return &mixture_; }

  void EmbedRows(const PackedMatrix& table, const int64_t* ids, int64_t count,
                 float* output) override {
    const int64_t bytes = count * static_cast<int64_t>(sizeof(int64_t));
    std::byte* copy = Take(indices_.Get(bytes));
    if (copy == nullptr) return;
    memory_->CopyIn(ids, bytes, copy);
    int64_t* on_device = reinterpret_cast<int64_t*>(copy);
    if (std::any_of(ids, ids + count, [](int64_t id) { return id < 0; })) {
      Note(drawer_.Resolve(count, on_device));
    }
    if (table.codes != shard_loader::Codes::kNone) {
      return Note(coded_.EmbedRows(table, on_device, count, output));
    }
    Check(cuda::EmbedRows(table, on_device, count, output, stream()));
  }

  void Norm(const NormArgs& args) override { Check(cuda::Norm(args, order_, stream())); }

  void SquareSums(const float* input, int64_t num_rows, int64_t size, float* output) override {
    Check(cuda::SquareSums(input, num_rows, size, output, order_, stream()));
  }

  void Product(const ProductArgs& args) override { Multiply(args, Grouping()); }

  void RopeAndStore(const RowTable& rows, const RopeArgs& args, const KvLayer& cache) override {
    if (!SetRows(rows)) return;
    Check(cuda::RopeAndStore(device_rows_, args, cache, stream()));
  }

  void Attend(const RowTable& rows, const AttentionArgs& args, const KvLayer& cache) override {
    AttentionArgs on_device = args;
    const int64_t heads = args.num_heads;
    on_device.kv_head_of = static_cast<const int32_t*>(
        Take(constants_.Get(args.kv_head_of, heads * static_cast<int64_t>(sizeof(int32_t)))));
    if (args.slopes != nullptr) {
      on_device.slopes = static_cast<const float*>(
          Take(constants_.Get(args.slopes, heads * static_cast<int64_t>(sizeof(float)))));
    }
    if (order_ == Order::kFma16 || !CanAttendMma(cache)) {
      if (SetRows(rows)) Check(AttendFma(device_rows_, on_device, cache, stream()));
      return;
    }
    const HeadGroups groups = GroupHeads(args, cache.num_kv_heads);
    max_group_rows_ =
        std::max(1, QueriesOfBlock(cache.value_size, /*prefill=*/true) / groups.largest);
    if (!SetRows(rows)) return;
    AttentionCut cut;
    cut.prefill = packed_.prefill;
    cut.groups = reinterpret_cast<const RowGroup*>(words_ + packed_.groups);
    cut.num_groups = packed_.num_groups;
    cut.num_tiles = NumTiles();
    const int64_t scratch =
        AttentionScratchFloats(rows.num_rows, heads, cache.value_size, cut.num_tiles) *
        static_cast<int64_t>(sizeof(float));
    // Tiles in blocks of their own fill a device when rows and heads alone do not.
    const bool few = packed_.num_groups * cache.num_kv_heads < shard_loader::kFewDeviceBlocks;
    if (cut.num_tiles > 1 && few && scratch <= shard_loader::kMaxDeviceTileBytes) {
      cut.scratch = reinterpret_cast<float*>(Take(tiles_.Get(scratch)));
      if (cut.scratch == nullptr) return;
    }
    Check(AttendMma(device_rows_, on_device, cache, groups, cut, stream()));
  }

  void Activate(const ActivationArgs& args) override { Check(cuda::Activate(args, stream())); }
  void AddToResidual(const ResidualArgs& args) override {
    Check(cuda::AddToResidual(args, stream()));
  }

  void AddWeightedRows(const WeightedRowsArgs& args) override {
    const int64_t bytes = args.count * static_cast<int64_t>(sizeof(int32_t));
    std::byte* copy = Take(indices_.Get(2 * bytes));
    if (copy == nullptr) return;
    memory_->CopyIn(args.rows, bytes, copy);
    memory_->CopyIn(args.weights, bytes, copy + bytes);
    WeightedRowsArgs on_device = args;
    on_device.rows = reinterpret_cast<const int32_t*>(copy);
    on_device.weights = reinterpret_cast<const float*>(copy + bytes);
    Check(cuda::AddWeightedRows(on_device, stream()));
  }

  void ScaleAndCap(float scale, float cap, int64_t size, float* data) override {
    Check(cuda::ScaleAndCap(scale, cap, size, data, stream()));
  }

  void CopyRows(const CopyRowsArgs& args) override {
    const int64_t bytes = args.num_rows * static_cast<int64_t>(sizeof(int32_t));
    const bool listed = args.from_rows != nullptr || args.to_rows != nullptr;
    std::byte* copy = listed ? Take(indices_.Get(2 * bytes)) : nullptr;
    if (listed && copy == nullptr && bytes > 0) return;
    CopyRowsArgs on_device = args;
    if (args.from_rows != nullptr) {
      memory_->CopyIn(args.from_rows, bytes, copy);
      on_device.from_rows = reinterpret_cast<const int32_t*>(copy);
    }
    if (args.to_rows != nullptr) {
      memory_->CopyIn(args.to_rows, bytes, copy + bytes);
      on_device.to_rows = reinterpret_cast<const int32_t*>(copy + bytes);
    }
    Check(cuda::CopyRows(on_device, stream()));
  }

  // The first time they run, which makes all room that they need; the second time they are
  // recorded.
  absl::Status Repeat(const RowTable& rows, absl::FunctionRef<absl::Status()> operations) override {
    if (!SetRows(rows)) return memory_->Finish();
    repeats_ = true;
    const absl::Status status = RepeatRows(operations);
    repeats_ = false;
    return status;
  }

  void AddTree(const AddTreeArgs& args) override {
    if (args.num_roots > kMaxTreeRoots) {
      return Fail(absl::UnimplementedError(
          absl::StrCat("cuda: a tree of ", args.num_roots, " sums; at most ", kMaxTreeRoots)));
    }
    Check(cuda::AddTree(args, stream()));
  }

  void SoftmaxBlocks(const SoftmaxBlocksArgs& args) override {
    Check(cuda::SoftmaxBlocks(args, stream()));
  }

 private:
  CUstream_st* stream() const { return memory_->cuda_stream(); }
  void Check(int error) { memory_->Check(error, "a kernel"); }
  void Fail(const absl::Status& status) { memory_->Fail(status); }
  void Note(const absl::Status& status) {
    if (!status.ok()) Fail(status);
  }

  // The value, or null where it could not be had; Finish then says why.
  template <typename T>
  T* Take(absl::StatusOr<T*> value) {
    if (value.ok()) return *value;
    Fail(value.status());
    return nullptr;
  }

  void Multiply(const ProductArgs& args, const Grouping& groups) {
    LaneList lanes;
    if (!MakeLaneList(args, order_, &lanes)) {
      return Fail(absl::UnimplementedError(
          absl::StrCat("cuda: a sum of ", args.num_lanes, " lanes over ", args.weights.columns,
                       " columns is cut into more than ", kMaxLaneEntries,
                       " parts; use fewer --lanes or a higher --tp")));
    }
    const PackedMatrix& weights = args.weights;
    switch (AlgorithmOf(order_, weights.dtype, weights.codes, weights.columns).kernel) {
      case ProductKernel::kFma:
        return Check(ProductFma(args, lanes, groups, stream()));
      case ProductKernel::kCodes:
        return Note(coded_.Product(args, lanes, groups));
      case ProductKernel::kMma:
        break;
    }
    std::byte* narrowed = Take(narrowed_.Get(args.num_rows * NarrowedStride(weights.columns) * 2));
    if (narrowed != nullptr) Check(ProductMma(args, lanes, groups, narrowed, stream()));
  }

  // Of the longest row. Recorded steps take the next power of two: blocks beyond a row end at once.
  int64_t NumTiles() const {
    const int64_t tiles = CeilDiv(packed_.longest, kAttentionTile);
    if (!repeats_) return tiles;
    int64_t rounded = 1;
    while (rounded < tiles) rounded *= 2;
    return rounded;
  }

  absl::Status RepeatRows(absl::FunctionRef<absl::Status()> operations) {
    Recorded& recorded = recorded_[{packed_.num_rows, NumTiles()}];
    if (recorded.moves != moves_) {  // new, or some of its memory has moved
      recorded.graph.reset();
      const absl::Status status = operations();
      recorded.moves = moves_;
      return status;
    }
    if (recorded.graph == nullptr) {
      ASSIGN_OR_RETURN(recorded.graph, Graph::Record(stream(), operations));
      if (recorded.moves != moves_) {
        return absl::InternalError("cuda: an operation made room while it was recorded");
      }
    }
    memory_->Check(recorded.graph->Launch(stream()), "a recorded step");
    return absl::OkStatus();
  }

  HeadGroups GroupHeads(const AttentionArgs& args, int64_t num_kv_heads) const {
    HeadGroups groups;
    int64_t head = 0;
    for (int64_t kv = 0; kv < num_kv_heads; ++kv) {
      const int64_t begin = head;
      groups.begin[kv] = static_cast<int16_t>(begin);
      while (head < args.num_heads && args.kv_head_of[head] == kv) ++head;
      groups.largest = std::max(groups.largest, static_cast<int32_t>(head - begin));
    }
    groups.begin[num_kv_heads] = static_cast<int16_t>(head);
    return groups;
  }

  // Brings the row table to the device, unless it is the one that is there.
  bool SetRows(const RowTable& rows) {
    PackedRows packed = Pack(rows, max_group_rows_);
    if (words_ != nullptr && packed.words == packed_.words && packed.num_rows == packed_.num_rows) {
      return true;
    }
    packed_ = std::move(packed);
    const int64_t bytes = static_cast<int64_t>(packed_.words.size() * sizeof(int32_t));
    std::byte* data = Take(rows_.Get(bytes));
    words_ = reinterpret_cast<const int32_t*>(data);
    if (data == nullptr) return false;
    memory_->CopyIn(packed_.words.data(), bytes, data);
    device_rows_ = {packed_.num_rows, words_, words_ + packed_.table_begin,
                    reinterpret_cast<const uint32_t*>(words_ + packed_.blocks)};
    return true;
  }

  struct Recorded {
    int64_t moves = -1;
    std::unique_ptr<Graph> graph;
  };

  const std::unique_ptr<DeviceMemory> memory_;
  const Order order_;
  int64_t moves_ = 0;  // how often scratch memory moved
  Constants constants_;
  Scratch rows_;
  Scratch indices_;
  Scratch narrowed_;
  Scratch tiles_;
  CodedWork coded_;
  CudaDrawer drawer_;
  CudaMixture mixture_;
  int64_t max_group_rows_ = 1;
  PackedRows packed_;
  const int32_t* words_ = nullptr;  // packed_.words, on the device
  DeviceRows device_rows_;
  bool repeats_ = false;                                      // within Repeat
  std::map<std::pair<int64_t, int64_t>, Recorded> recorded_;  // by rows and tiles
};

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> MakeCudaBackend(const CudaBackendOptions& options) {
  ASSIGN_OR_RETURN(std::unique_ptr<DeviceMemory> memory, DeviceMemory::Create(options.device));
  return std::make_unique<CudaBackend>(std::move(memory), options.order);
}

}  // namespace tessera::worker::cuda
