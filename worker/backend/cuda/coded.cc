#include "worker/backend/cuda/coded.h"

#include <algorithm>

#include "shard_loader/plan/device_scratch.h"
#include "shard_loader/plan/packed_layout.h"
#include "shard_loader/status_macros.h"

namespace tessera::worker::cuda {
namespace {

static_assert(sizeof(CodedSegment) == shard_loader::kDeviceSegmentBytes);

shard_loader::CodedTile TileOf(const PackedMatrix& matrix) {
  return shard_loader::MakeCodedTile(matrix.codes, matrix.columns, matrix.num_groups);
}

}  // namespace

absl::Status CodedWork::EmbedRows(const PackedMatrix& table, const int64_t* ids, int64_t count,
                                  float* output) {
  const shard_loader::CodedTile tile = TileOf(table);
  ASSIGN_OR_RETURN(const void* const groups,
                   constants_->Get(table.groups,
                                   (table.num_groups + 1) * static_cast<int64_t>(sizeof(int64_t))));
  memory_.Check(EmbedCodedRows({table, tile.bytes, tile.scales, tile.minima,
                                static_cast<const int64_t*>(groups)},
                               ids, count, output, memory_.cuda_stream()),
                "a kernel");
  return absl::OkStatus();
}

int64_t CodedWork::CutSegments(const ProductArgs& args) {
  segments_.clear();
  int64_t next = 0;
  const int64_t* groups = args.weights.groups;
  const int64_t* end_of_groups = groups + args.weights.num_groups + 1;
  for (int64_t lane = 0; lane < args.num_lanes; ++lane) {
    int64_t begin = args.lanes[lane].begin;
    int64_t group = std::upper_bound(groups, end_of_groups, begin) - groups - 1;
    for (; begin < args.lanes[lane].end; ++group) {
      const int64_t end = std::min(args.lanes[lane].end, groups[group + 1]);
      CodedSegment segment;
      segment.begin = static_cast<int32_t>(begin);
      segment.end = static_cast<int32_t>(end);
      segment.lane = static_cast<int32_t>(lane);
      segment.group = static_cast<int32_t>(group);
      segment.block = static_cast<int32_t>(begin / 8);
      segment.blocks = static_cast<int32_t>((end + 7) / 8 - begin / 8);
      segment.codes = static_cast<int32_t>(next);
      segments_.push_back(segment);
      next += segment.blocks * 8;
      begin = end;
    }
  }
  return shard_loader::DeviceCodeStride(args.weights.columns,
                                        static_cast<int64_t>(segments_.size()));
}

absl::Status CodedWork::Product(const ProductArgs& args, const LaneList& lanes,
                                const Grouping& groups) {
  const PackedMatrix& weights = args.weights;
  const shard_loader::CodedTile tile = TileOf(weights);
  CodedProduct coded;
  coded.product = args;
  coded.tile_bytes = tile.bytes;
  coded.scale_offset = tile.scales;
  coded.minimum_offset = tile.minima;
  coded.code_stride = CutSegments(args);
  coded.num_segments = static_cast<int64_t>(segments_.size());
  ASSIGN_OR_RETURN(
      const void* const segments,
      constants_->Get(segments_.data(), coded.num_segments * shard_loader::kDeviceSegmentBytes));
  coded.segments = static_cast<const CodedSegment*>(segments);
  // The tiles of a grouping count all rows.
  const int64_t most = groups.tiles == nullptr
                           ? std::min(args.num_rows, shard_loader::kDeviceCodedRows)
                           : args.num_rows;
  const int64_t numbers = most * coded.num_segments * static_cast<int64_t>(sizeof(float));
  ASSIGN_OR_RETURN(std::byte* const data, codes_.Get(most * coded.code_stride + 2 * numbers));
  coded.scales = reinterpret_cast<float*>(data);
  coded.sums = reinterpret_cast<int32_t*>(data + numbers);
  coded.codes = reinterpret_cast<int8_t*>(data + 2 * numbers);
  for (int64_t row = 0; row < args.num_rows; row += most) {
    coded.product.input = args.input + row * weights.columns;
    coded.product.output = args.output + row * weights.rows;
    coded.product.num_rows = std::min(most, args.num_rows - row);
    memory_.Check(ProductCoded(coded, lanes, groups, memory_.cuda_stream()), "a kernel");
  }
  return absl::OkStatus();
}

}  // namespace tessera::worker::cuda
