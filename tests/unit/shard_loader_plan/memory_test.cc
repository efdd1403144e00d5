#include "shard_loader/plan/memory.h"

#include <catch2/catch.hpp>

#include "shard_loader/plan/packed_layout.h"
#include "tests/unit/shard_loader_plan/small_spec.h"

namespace tessera::shard_loader {
namespace {

using Catch::Matchers::Contains;

constexpr int64_t kMiB = 1 << 20;

MemoryOptions Options(int64_t available) {
  MemoryOptions options;
  options.weight_dtype = DType::kF32;
  options.kv_dtype = DType::kF32;
  options.limits = {512, 8};
  options.available_bytes = available;
  return options;
}

std::vector<RankPlan> Plans(int tp, int pp) { return MakeRankPlans(Spec(), {tp, pp, 8}).value(); }

MemoryPlan Plan(int tp, int pp, const MemoryOptions& options) {
  return PlanMemory(Spec(), Plans(tp, pp), options);
}

TEST_CASE("a rank's memory is weights, workspace, process and KV cache, to the byte") {
  const MemoryPlan plan = Plan(1, 1, Options(1024 * kMiB));
  REQUIRE(plan.fits.ok());
  const RankPlan rank = Plans(1, 1)[0];
  const RankMemory& memory = plan.ranks.at(0);
  CHECK(memory.weights == MakePackedLayout(Spec(), rank, DType::kF32).bytes);
  CHECK(memory.workspace == MakeWorkspaceLayout(Spec(), rank, {512, 8}).bytes());
  // 4 layers of 4 KV heads of 32 keys and values of 16 tokens in fp32.
  CHECK(memory.kv_per_block == 4 * 4 * 2 * 32 * 16 * 4);
  CHECK(memory.kv == plan.num_kv_blocks * memory.kv_per_block);
  CHECK(plan.needed_bytes == memory.total());
}

TEST_CASE(
    "a draft model is whole on the first rank of the last stage, and its cache grows with the "
    "model's") {
  DecoderSpec draft = Spec();
  draft.num_layers = 1;
  draft.attention.windows.assign(1, 0);
  MemoryOptions options = Options(1024 * kMiB);
  const MemoryPlan without = Plan(2, 2, options);
  options.draft = &draft;
  const MemoryPlan with = Plan(2, 2, options);
  for (int rank : {0, 1, 3}) {
    CHECK(with.ranks[rank].draft == 0);
    CHECK(with.ranks[rank].kv_per_block == without.ranks[rank].kv_per_block);
  }
  const RankPlan whole = MakeRankPlans(draft, {1, 1, 1}).value()[0];
  CHECK(with.ranks[2].draft ==
        MakePackedLayout(draft, whole, DType::kF32).bytes +
            MakeWorkspaceLayout(draft, whole, {kDraftRows, kDraftRows}).bytes());
  CHECK(with.ranks[2].kv_per_block == without.ranks[2].kv_per_block + 4 * 2 * 32 * 16 * 4);
  CHECK(with.ranks[2].fixed() == without.ranks[2].fixed() + with.ranks[2].draft);
}

TEST_CASE("without a number of blocks there are as many as all sequences can use") {
  const MemoryPlan plan = Plan(1, 1, Options(4096 * kMiB));
  CHECK(plan.max_model_len == 1024);
  CHECK(plan.num_kv_blocks == 8 * 64);
}

TEST_CASE("where less memory is left, the blocks fill it to the last that fits") {
  const int64_t fixed = Plan(1, 1, Options(0)).ranks[0].fixed();
  const int64_t block = Plan(1, 1, Options(0)).ranks[0].kv_per_block;
  const MemoryPlan plan = Plan(1, 1, Options(fixed + 101 * block - 1));
  REQUIRE(plan.fits.ok());
  CHECK(plan.num_kv_blocks == 100);
  CHECK(plan.needed_bytes <= plan.available_bytes);
  CHECK(Plan(1, 1, Options(fixed + 101 * block)).num_kv_blocks == 101);
}

TEST_CASE("ranks on one host share its memory, ranks on hosts of their own do not") {
  MemoryOptions options = Options(0);
  options.num_kv_blocks = 64;
  const MemoryPlan shared = Plan(2, 2, options);
  int64_t sum = 0;
  int64_t most = 0;
  for (const RankMemory& rank : shared.ranks) {
    sum += rank.total();
    most = std::max(most, rank.total());
  }
  CHECK(shared.needed_bytes == sum);
  options.ranks_share_memory = false;
  CHECK(Plan(2, 2, options).needed_bytes == most);
  options.available_bytes = most;
  CHECK(Plan(2, 2, options).fits.ok());
  options.available_bytes = most - 1;
  CHECK_FALSE(Plan(2, 2, options).fits.ok());
}

TEST_CASE("what cannot fit is refused with what it needs, what there is, and what to change") {
  const int64_t fixed = Plan(1, 1, Options(0)).ranks[0].fixed();
  const int64_t block = Plan(1, 1, Options(0)).ranks[0].kv_per_block;
  const MemoryPlan plan = Plan(1, 1, Options(fixed + 40 * block));
  CHECK(plan.fits.code() == absl::StatusCode::kFailedPrecondition);
  const std::string message(plan.fits.message());
  CHECK_THAT(message, Contains("needs " + FormatBytes(fixed + 64 * block)));
  CHECK_THAT(message, Contains("has " + FormatBytes(fixed + 40 * block)));
  CHECK_THAT(message, Contains("--max-model-len 640"));
  CHECK_THAT(message, Contains("--dtype bf16"));
}

TEST_CASE("what the refusal proposes does fit") {
  const int64_t fixed = Plan(1, 1, Options(0)).ranks[0].fixed();
  const int64_t block = Plan(1, 1, Options(0)).ranks[0].kv_per_block;
  MemoryOptions options = Options(fixed + 40 * block);
  options.max_model_len = 640;
  CHECK(Plan(1, 1, options).fits.ok());
  // Too small for the weights: only more hosts help.
  MemoryOptions small = Options(fixed - 1);
  const MemoryPlan refused = Plan(1, 1, small);
  CHECK_THAT(std::string(refused.fits.message()),
             Contains("--tp 2 with one rank on each host") && !Contains("--max-model-len"));
  small.ranks_share_memory = false;
  CHECK(Plan(2, 1, small).fits.ok());
}

TEST_CASE("a number of blocks below one sequence, or above the memory, is refused") {
  MemoryOptions options = Options(4096 * kMiB);
  options.num_kv_blocks = 63;
  CHECK_THAT(std::string(Plan(1, 1, options).fits.message()),
             Contains("--num-kv-blocks 64 or more") && Contains("--max-model-len 1008"));
  options.num_kv_blocks = 64;
  CHECK(Plan(1, 1, options).fits.ok());
  options.num_kv_blocks = int64_t{1} << 30;
  CHECK_THAT(std::string(Plan(1, 1, options).fits.message()), Contains("use --num-kv-blocks "));
}

TEST_CASE("slots for evicted blocks are as many as the largest rank has room for") {
  MemoryOptions options = Options(4096 * kMiB);
  const MemoryPlan without = Plan(3, 1, options);
  CHECK(without.num_kv_slots == 0);
  options.offload_bytes = 10 * kMiB;
  const MemoryPlan plan = Plan(3, 1, options);
  REQUIRE(plan.fits.ok());
  int64_t largest = 0;
  for (const RankMemory& rank : plan.ranks) largest = std::max(largest, rank.kv_per_block);
  CHECK(plan.num_kv_slots == 10 * kMiB / largest);
  for (size_t i = 0; i < plan.ranks.size(); ++i) {
    const RankMemory& rank = plan.ranks[i];
    CHECK(rank.slots == plan.num_kv_slots * rank.kv_per_block);
    CHECK(rank.slots <= 10 * kMiB);
    CHECK(rank.offload == rank.slots);
    CHECK(rank.total() == without.ranks[i].total() + rank.slots);
  }
  options.offload_to_file = true;
  const MemoryPlan file = Plan(3, 1, options);
  CHECK(file.num_kv_slots == plan.num_kv_slots);
  CHECK(file.ranks[0].slots == plan.ranks[0].slots);
  CHECK(file.ranks[0].offload == file.ranks[0].kv_per_block);
  options.offload_to_file = false;
  options.on_device = true;
  CHECK(Plan(3, 1, options).ranks[0].fixed() < plan.ranks[0].fixed() + kMiB);
}

TEST_CASE("a draft model's part of a block has no room in a slot") {
  DecoderSpec draft = Spec();
  MemoryOptions options = Options(4096 * kMiB);
  options.offload_bytes = 10 * kMiB;
  const MemoryPlan without = Plan(1, 1, options);
  options.draft = &draft;
  CHECK(Plan(1, 1, options).num_kv_slots == without.num_kv_slots);
}

TEST_CASE("slots that are none, too many, or leave no room for the model are refused") {
  const int64_t fixed = Plan(1, 1, Options(0)).ranks[0].fixed();
  const int64_t block = Plan(1, 1, Options(0)).ranks[0].kv_per_block;
  MemoryOptions options = Options(fixed + 70 * block);
  options.offload_bytes = block - 1;
  CHECK_THAT(std::string(Plan(1, 1, options).fits.message()),
             Contains("--kv-offload") && Contains("does not hold one block"));
  options.offload_bytes = 6 * block;
  CHECK(Plan(1, 1, options).fits.ok());
  options.offload_bytes = 7 * block;
  CHECK_THAT(
      std::string(Plan(1, 1, options).fits.message()),
      Contains("KV offload " + FormatBytes(7 * block)) && Contains("a smaller --kv-offload"));
  options.offload_to_file = true;
  CHECK(Plan(1, 1, options).fits.ok());
  options.offload_bytes = (kMostKvSlots + 1) * block;
  CHECK_THAT(std::string(Plan(1, 1, options).fits.message()),
             Contains("16777216 at most: give less"));
}

TEST_CASE("a weight that is held twice while it is packed counts too") {
  MemoryOptions options = Options(0);
  options.limits = {16, 1};
  options.num_kv_blocks = 1;
  options.max_model_len = 16;
  options.weight_dtype = DType::kBF16;
  const MemoryPlan plan = Plan(1, 1, options);
  const RankMemory& rank = plan.ranks[0];
  CHECK(rank.staging == 2048 * 256 * 4);
  REQUIRE(rank.loading() > rank.total());
  CHECK(plan.needed_bytes == rank.loading());
  options.available_bytes = rank.loading();
  CHECK(Plan(1, 1, options).fits.ok());
  options.available_bytes = rank.loading() - 1;
  CHECK_THAT(std::string(Plan(1, 1, options).fits.message()),
             Contains("a weight being packed 2.00 MiB"));
  options.stored_dtype = DType::kBF16;
  CHECK(Plan(1, 1, options).ranks[0].staging == 2048 * 256 * 2);
}

TEST_CASE("bytes are written in units of 1,024") {
  CHECK(FormatBytes(640) == "640 B");
  CHECK(FormatBytes(1536) == "1.50 KiB");
  CHECK(FormatBytes(int64_t{3} << 30) == "3.00 GiB");
}

}  // namespace
}  // namespace tessera::shard_loader
