#include "shard_loader/plan/device_scratch.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "shard_loader/plan/device_experts.h"
#include "shard_loader/plan/memory.h"
#include "tests/unit/shard_loader_plan/small_spec.h"

namespace tessera::shard_loader {
namespace {

DeviceScratch Plan(const WeightFormat& weights, int64_t tokens, int tp = 1) {
  const RankPlan rank = MakeRankPlans(Spec(), {tp, 1, 8}).value().back();
  return PlanDeviceScratch(Spec(), rank, {weights, {tokens, 4}, 600});
}

// For the memory plans beside Plan(DType::kBF16, 64).
MemoryOptions PlanOptions() {
  MemoryOptions options;
  options.weight_dtype = DType::kBF16;
  options.limits = {64, 4};
  options.max_model_len = 600;
  options.available_bytes = int64_t{1} << 30;
  return options;
}

TEST_CASE("a device's scratch memory follows from the model and the limits, to the byte") {
  const DeviceScratch scratch = Plan(DType::kBF16, 64);
  // Four words for a row, and for each of 4 sequences 38 blocks.
  CHECK(scratch.rows == (4 * 64 + 4 * 38) * 4);
  CHECK(scratch.indices == 64 * 8);
  CHECK(scratch.narrowed == 64 * 512 * 2);  // the MLP's columns
  CHECK(scratch.codes == 0);
  // 600 keys are 3 tiles, which a recorded step takes for 4.
  CHECK(scratch.tiles == 4 * 64 * 8 * (32 + 2) * 4);
  // 64 rows of logits at a time, 256 ids to a block.
  CHECK(scratch.draw_rows == 64 * (2048 * 12 + 8 * 16 + 1024));
  CHECK(scratch.most_draws == 64);
  CHECK(scratch.draw_lists == 64 * 600 * 4);
  CHECK(scratch.bytes() == scratch.rows + scratch.indices + scratch.narrowed + scratch.tiles +
                               scratch.constants + scratch.draw_rows + scratch.draw_lists);
}

TEST_CASE("coded weights need their inputs as integers, others in fp32 need neither") {
  CHECK(Plan(DType::kF32, 64).narrowed == 0);
  const DeviceScratch scratch = Plan(WeightFormat(Codes::kInt8, 64, DType::kBF16), 1000);
  // 512 columns in 8 groups, cut by at most 9 borders; 256 rows at a time.
  CHECK(scratch.codes == 256 * (DeviceCodeStride(512, 17) + 17 * 8));
}

TEST_CASE("experts on a device have room for every row's pairs with its experts") {
  DecoderSpec spec = Spec();
  spec.moe.num_experts = 8;
  spec.moe.experts_per_token = 2;
  spec.moe.intermediate_size = 128;
  spec.moe.on_layer.assign(4, true);
  const RankPlan rank = MakeRankPlans(spec, {1, 1, 8}).value().front();
  const auto plan = [&](const WeightFormat& weights, int64_t tokens) {
    return PlanDeviceScratch(spec, rank, {weights, {tokens, 4}, 600});
  };
  const DeviceScratch scratch = plan(DType::kBF16, 64);
  CHECK(scratch.choices == 64 * 2 * 8);
  // 128 pairs: where each row's lie, their rows, tiles, inputs, gate, up, and 8 lanes of outputs.
  CHECK(scratch.experts == 512 + 512 + 1792 + 128 * 4 * (256 + 128 + 128 + 8 * 256));
  CHECK(scratch.narrowed == 128 * 512 * 2);
  CHECK(scratch.bytes() - Plan(DType::kBF16, 64).bytes() ==
        scratch.choices + scratch.experts + 64 * 512 * 2);
  // 256 rows pass over the experts at a time.
  CHECK(plan(DType::kBF16, 1000).experts == plan(DType::kBF16, 256).experts);
  CHECK(plan(DType::kBF16, 1000).choices == 1000 * 2 * 8);
  const WeightFormat int8(Codes::kInt8, 64, DType::kBF16);
  CHECK(plan(int8, 1000).codes == 512 * (DeviceCodeStride(512, 17) + 17 * 8));
  CHECK(Plan(int8, 1000).choices == 0);
  CHECK(Plan(int8, 1000).experts == 0);
}

TEST_CASE("the room for more rows of experts holds the room for fewer") {
  const DeviceExpertRoom few = MakeDeviceExpertRoom({3, 2, 40, 70, 4});
  const DeviceExpertRoom many = MakeDeviceExpertRoom({256, 2, 40, 70, 4});
  CHECK(few.bytes < many.bytes);
  CHECK(few.parts.offset % 256 == 0);
  CHECK(few.parts.offset + few.parts.bytes <= few.bytes);
  CHECK(few.up.offset >= few.gate.offset + few.gate.bytes);
}

TEST_CASE("a rank that does not draw has no room for draws") {
  CHECK(Plan(DType::kBF16, 64, 2).draw_rows == 0);
  CHECK(Plan(DType::kBF16, 64, 2).draw_lists == 0);
  CHECK(Plan(DType::kBF16, 64, 2).narrowed == 64 * 256 * 2);
}

TEST_CASE("a model and its draft share what they work in, but not what lasts") {
  const DeviceScratch model = Plan(DType::kBF16, 16);
  DecoderSpec small = Spec();
  small.mlp.intermediate_size = 128;
  const DeviceScratch draft = PlanDraftScratch(small, DType::kBF16, 600).value();
  const DeviceScratch both = InTurns(model, draft);
  CHECK(model.most_draws == 16);
  CHECK(draft.most_draws == 64);
  CHECK(both.most_draws == 64);
  CHECK(both.narrowed == std::max(model.narrowed, draft.narrowed));
  CHECK(both.rows == draft.rows);
  CHECK(both.constants == model.constants + draft.constants);
  CHECK(both.bytes() < model.bytes() + draft.bytes());

  const std::vector<RankPlan> ranks = MakeRankPlans(Spec(), {2, 1, 8}).value();
  MemoryOptions options = PlanOptions();
  options.on_device = true;
  const MemoryPlan alone = PlanMemory(Spec(), ranks, options);
  options.draft = &small;
  const MemoryPlan drafted = PlanMemory(Spec(), ranks, options);
  // The first rank draws.
  const DeviceScratch first = PlanDeviceScratch(Spec(), ranks[0], {DType::kBF16, {64, 4}, 600});
  CHECK(drafted.ranks.at(0).workspace - alone.ranks.at(0).workspace ==
        InTurns(first, draft).bytes() - first.bytes());
  CHECK(drafted.ranks.at(1).workspace == alone.ranks.at(1).workspace);
}

TEST_CASE("a device's memory plan counts its scratch memory, a host's does not") {
  const std::vector<RankPlan> ranks = MakeRankPlans(Spec(), {1, 1, 8}).value();
  MemoryOptions options = PlanOptions();
  const int64_t host = PlanMemory(Spec(), ranks, options).ranks.at(0).workspace;
  options.on_device = true;
  const int64_t device = PlanMemory(Spec(), ranks, options).ranks.at(0).workspace;
  CHECK(device - host == Plan(DType::kBF16, 64).bytes());
}

}  // namespace
}  // namespace tessera::shard_loader
