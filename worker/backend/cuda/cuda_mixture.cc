#include "worker/backend/cuda/cuda_mixture.h"

#include "shard_loader/status_macros.h"
#include "worker/backend/cuda/product_table.h"

namespace tessera::worker::cuda {
namespace {

using shard_loader::MoeSpec;

static_assert(sizeof(Choice) == shard_loader::kDeviceChoiceBytes);
static_assert(sizeof(GroupTile) == shard_loader::kDeviceExpertTileBytes);

RouteKernelArgs KernelArgs(const RouteArgs& args) {
  const MoeSpec& moe = *args.moe;
  RouteKernelArgs kernel;
  kernel.logits = args.logits;
  kernel.correction = args.correction;
  kernel.num_rows = args.num_rows;
  kernel.experts = static_cast<int32_t>(moe.num_experts);
  kernel.per_token = static_cast<int32_t>(moe.experts_per_token);
  kernel.num_groups = static_cast<int32_t>(moe.num_groups);
  kernel.groups_per_token = static_cast<int32_t>(moe.groups_per_token);
  kernel.group_by_two = moe.group_by_two;
  kernel.sigmoid = moe.scores == MoeSpec::Scores::kSigmoid;
  kernel.renormalise = moe.renormalise;
  kernel.routed_scale = moe.routed_scale;
  return kernel;
}

template <typename T>
T* At(std::byte* room, const shard_loader::ByteSpan& span) {
  return reinterpret_cast<T*>(room + span.offset);
}

}  // namespace

absl::Status CudaMixture::Reserve(const shard_loader::DeviceScratch& scratch) {
  RETURN_IF_ERROR(choices_.Reserve(scratch.choices));
  return room_.Reserve(scratch.experts);
}

void CudaMixture::Route(const RouteArgs& args) {
  const int64_t per_token = args.moe->experts_per_token;
  const auto room = choices_.Get(args.step_rows * per_token * static_cast<int64_t>(sizeof(Choice)));
  if (!room.ok()) return memory_.Fail(room.status());
  chosen_ = reinterpret_cast<Choice*>(*room);
  RouteKernelArgs kernel = KernelArgs(args);
  kernel.choices = chosen_ + args.first_row * per_token;
  Check(RouteRows(kernel, memory_.cuda_stream()));
}

void CudaMixture::Run(const ExpertsArgs& args) {
  const absl::Status status = TryRun(args);
  if (!status.ok()) memory_.Fail(status);
}

CudaMixture::Pairs CudaMixture::Sort(const ExpertsArgs& args,
                                     const shard_loader::DeviceExpertRoom& parts, std::byte* room) {
  const int64_t per_token = args.moe->experts_per_token;
  const int64_t experts = args.experts.size();
  const PackedMatrix& down = args.down.first;
  Pairs pairs;
  pairs.count = args.num_rows * per_token;
  pairs.pair_of = At<int32_t>(room, parts.pair_of);
  pairs.rows = At<int32_t>(room, parts.pair_rows);
  pairs.input = At<float>(room, parts.input);
  pairs.gate = At<float>(room, parts.gate);
  pairs.up = At<float>(room, parts.up);
  pairs.parts = At<float>(room, parts.parts);
  const ProductKernel kernel = AlgorithmOf(order_, down.dtype, down.codes, down.columns).kernel;
  const int64_t tile_rows = GroupTileRows(kernel, args.num_rows, pairs.count, experts);
  int32_t* num_tiles = At<int32_t>(room, parts.tiles);
  GroupTile* tiles = reinterpret_cast<GroupTile*>(room + parts.tiles.offset + 16);
  pairs.groups.tiles = tiles;
  pairs.groups.num_tiles = num_tiles;
  pairs.groups.max_tiles = MaxGroupTiles(pairs.count, experts, tile_rows);
  pairs.groups.tile_rows = tile_rows;

  GroupRowsArgs sort;
  sort.choices = chosen_ + args.first_row * per_token;
  sort.num_rows = args.num_rows;
  sort.per_token = static_cast<int32_t>(per_token);
  sort.first_expert = static_cast<int32_t>(args.experts.begin);
  sort.num_experts = static_cast<int32_t>(experts);
  sort.tile_rows = static_cast<int32_t>(tile_rows);
  sort.pair_of = pairs.pair_of;
  sort.pair_rows = pairs.rows;
  sort.tiles = tiles;
  sort.num_tiles = num_tiles;
  Check(GroupRows(sort, memory_.cuda_stream()));
  return pairs;
}

void CudaMixture::Multiply(const Pairs& pairs, const float* input, const ExpertMatrices& matrices,
                           float* output) {
  const SumLane whole = {0, matrices.first.columns, 0, 0};
  ProductArgs args;
  args.input = input;
  args.num_rows = pairs.count;
  args.weights = matrices.first;
  args.lanes = &whole;
  args.num_lanes = 1;
  args.bias = matrices.bias;
  args.output = output;
  Grouping groups = pairs.groups;
  groups.stride = matrices.stride;
  groups.bias_stride = matrices.bias_stride;
  product_(args, groups);
}

void CudaMixture::MultiplyPairs(const ExpertsArgs& args, const Pairs& pairs) {
  const PackedMatrix& down = args.down.first;
  Multiply(pairs, pairs.input, args.gate, pairs.gate);
  Multiply(pairs, pairs.input, args.up, pairs.up);
  ActivationArgs activate;
  activate.activation = args.activation;
  activate.limit = args.activation_limit;
  activate.size = pairs.count * down.columns;
  activate.up = pairs.up;
  activate.gate = pairs.gate;
  Check(Activate(activate, memory_.cuda_stream()));

  ProductArgs product;
  product.input = pairs.gate;
  product.num_rows = pairs.count;
  product.weights = down;
  product.lanes = args.lanes;
  product.num_lanes = args.num_lanes;
  product.bias = args.down.bias;
  product.output = pairs.parts;
  product.root_stride = pairs.count * down.rows;
  Grouping groups = pairs.groups;
  groups.stride = args.down.stride;
  groups.bias_stride = args.down.bias_stride;
  product_(product, groups);
}

absl::Status CudaMixture::TryRun(const ExpertsArgs& args) {
  const int64_t per_token = args.moe->experts_per_token;
  const int64_t hidden = args.down.first.rows;
  const shard_loader::DeviceExpertRoom room = shard_loader::MakeDeviceExpertRoom(
      {args.num_rows, per_token, hidden, args.down.first.columns, args.num_lanes});
  ASSIGN_OR_RETURN(std::byte* const data, room_.Get(room.bytes));
  const Pairs pairs = Sort(args, room, data);
  Check(GatherPairs(pairs.groups, pairs.rows, args.input, hidden, pairs.input,
                    memory_.cuda_stream()));
  MultiplyPairs(args, pairs);

  AddPairsArgs add;
  add.choices = chosen_ + args.first_row * per_token;
  add.pair_of = pairs.pair_of;
  add.num_rows = args.num_rows;
  add.per_token = static_cast<int32_t>(per_token);
  add.first_expert = static_cast<int32_t>(args.experts.begin);
  add.parts = pairs.parts;
  add.part_stride = pairs.count * hidden;
  if (args.sum_of != nullptr) {
    ASSIGN_OR_RETURN(
        const void* const sum_of,
        constants_->Get(args.sum_of, args.experts.size() * static_cast<int64_t>(sizeof(int32_t))));
    add.sum_of = static_cast<const int32_t*>(sum_of);
  }
  add.size = hidden;
  add.num_sums = static_cast<int32_t>(args.num_sums);
  add.sums = args.sums;
  add.sum_stride = args.sum_stride;
  Check(AddPairs(add, memory_.cuda_stream()));
  return absl::OkStatus();
}

void CudaMixture::AddBiases(const MoeSpec& moe, const float* bias, int64_t num_rows, int64_t size,
                            float* output) {
  Check(AddChosenBiases(chosen_, static_cast<int32_t>(moe.experts_per_token), bias, num_rows, size,
                        output, memory_.cuda_stream()));
}

void CudaMixture::AddGated(const float* gates, const float* input, int64_t num_rows, int64_t size,
                           float* output) {
  Check(AddGatedRows(gates, input, num_rows, size, output, memory_.cuda_stream()));
}

}  // namespace tessera::worker::cuda
