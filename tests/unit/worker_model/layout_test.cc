// What is computed before anything is read, against what is then allocated.
#include <catch2/catch.hpp>

#include "shard_loader/plan/packed_layout.h"
#include "shard_loader/plan/workspace.h"
#include "worker/comm/lane_sum.h"
#include "worker/model/kv_cache.h"
#include "worker/model/weights.h"

namespace tessera::worker {
namespace {

using shard_loader::DecoderSpec;
using shard_loader::DType;
using shard_loader::RankPlan;
using shard_loader::TensorRole;

DecoderSpec SmallSpec() {
  DecoderSpec spec;
  spec.num_layers = 4;
  spec.hidden_size = 40;
  spec.vocab_size = 100;
  spec.attention.num_heads = 8;
  spec.attention.num_kv_heads = 2;
  spec.attention.head_size = 24;
  spec.attention.qkv_bias = true;
  spec.attention.windows = {0, 0, 0, 0};
  spec.mlp.intermediate_size = 96;
  return spec;
}

// Experts beside shared ones, latent attention, two residual branches.
DecoderSpec RichSpec() {
  DecoderSpec spec = SmallSpec();
  spec.attention.num_kv_heads = 8;
  spec.attention.qkv_bias = false;
  spec.attention.value_size = 20;
  spec.attention.rotary_begin = 16;
  spec.attention.rotary_size = 8;
  spec.attention.latent = {.query_rank = 12, .kv_rank = 10};
  spec.moe.num_experts = 6;
  spec.moe.experts_per_token = 2;
  spec.moe.intermediate_size = 48;
  spec.moe.shared_columns = 64;
  spec.moe.on_layer = {false, true, true, true};
  return spec;
}

DecoderSpec ParallelSpec() {
  DecoderSpec spec = SmallSpec();
  spec.residual = shard_loader::Residual::kParallel;
  spec.mlp.intermediate_size = 320;  // other lanes than the attention's
  return spec;
}

std::vector<RankPlan> Plans(const DecoderSpec& spec, int tp, int pp) {
  auto plans = shard_loader::MakeRankPlans(spec, {tp, pp, 8});
  REQUIRE(plans.ok());
  return *plans;
}

TEST_CASE("packed elements lie in tiles of 16 rows, pair of columns by pair") {
  for (DType dtype : {DType::kF32, DType::kF16}) {
    CHECK(shard_loader::PackedIndex(0, 0, 5, dtype) == 0);
    CHECK(shard_loader::PackedIndex(3, 0, 5, dtype) == 3);
    CHECK(shard_loader::PackedIndex(0, 1, 5, dtype) == 16);
    CHECK(shard_loader::PackedIndex(15, 4, 5, dtype) == 79);
    CHECK(shard_loader::PackedIndex(17, 2, 5, dtype) == 96 + 32 + 1);
  }
  CHECK(shard_loader::PackedElements(17, 5) == 2 * 16 * 6);
}

TEST_CASE("pairs of bf16 lie side by side") {
  CHECK(shard_loader::PackedIndex(0, 1, 5, DType::kBF16) == 1);
  CHECK(shard_loader::PackedIndex(3, 0, 5, DType::kBF16) == 6);
  CHECK(shard_loader::PackedIndex(17, 3, 5, DType::kBF16) == 96 + 32 + 3);
}

TEST_CASE("the packed layout has every weight of the rank once, aligned and without overlap") {
  DecoderSpec spec = SmallSpec();
  for (bool tied : {false, true}) {
    spec.tied_embeddings = tied;
    for (int pp : {1, 2}) {
      for (const RankPlan& plan : Plans(spec, 3, pp)) {
        const auto layout = shard_loader::MakePackedLayout(spec, plan, DType::kBF16);
        int64_t end = 0;
        for (const auto& tensor : layout.tensors) {
          CHECK(tensor.offset % shard_loader::kPackedAlignment == 0);
          CHECK(tensor.offset >= end);
          end = tensor.offset + tensor.bytes;
          CHECK(layout.Find(tensor.id) == &tensor);
        }
        CHECK(layout.bytes >= end);
        CHECK((layout.Find({-1, TensorRole::kEmbedding}) != nullptr) == plan.has_embedding);
        CHECK((layout.Find({-1, TensorRole::kFinalNorm}) != nullptr) == plan.has_head);
        CHECK((layout.Find({-1, TensorRole::kHead}) != nullptr) ==
              (plan.has_head && !(tied && plan.has_embedding)));
      }
    }
  }
}

TEST_CASE("a rank's slices have the shapes of its heads and columns") {
  const DecoderSpec spec = SmallSpec();
  const RankPlan plan = Plans(spec, 3, 1)[0];  // heads 0 to 2 of 8, KV head 0
  const auto layout = shard_loader::MakePackedLayout(spec, plan, DType::kBF16);
  const auto* query = layout.Find({0, TensorRole::kQuery});
  REQUIRE(query != nullptr);
  CHECK(query->rows == 3 * 24);
  CHECK(query->columns == 40);
  CHECK(query->bytes == 80 * 40 * 2);
  CHECK(layout.Find({0, TensorRole::kKey})->rows == 24);
  CHECK(layout.Find({0, TensorRole::kOutput})->columns == 3 * 24);
  CHECK(layout.Find({0, TensorRole::kDown})->columns == plan.mlp_columns.size());
  const auto* bias = layout.Find({0, TensorRole::kQueryBias});
  CHECK_FALSE(bias->is_matrix);
  CHECK(bias->dtype == DType::kF32);
  CHECK(bias->bytes == 80 * 4);
}

TEST_CASE("the KV cache takes exactly the planned bytes") {
  const DecoderSpec spec = SmallSpec();
  const RankPlan plan = Plans(spec, 2, 2)[3];
  // 2 layers, 1 KV head; keys 24 x 16, values 16 x 32 in two bytes.
  CHECK(shard_loader::KvBytesPerBlock(spec, plan, DType::kBF16) == 2 * 1 * (384 + 512) * 2);
  // Two floats for each of 16 tokens beside a byte for an element.
  CHECK(shard_loader::KvBytesPerBlock(spec, plan, shard_loader::KvFormat::Int8()) ==
        2 * 1 * (384 + 512 + 2 * 16 * 4));
  auto cache = KvCache::Create(spec, plan, DType::kBF16, 10);
  REQUIRE(cache.ok());
  CHECK(cache->bytes() == 10 * shard_loader::KvBytesPerBlock(spec, plan, DType::kBF16));
  CHECK(cache->layer(1).data - cache->layer(0).data == cache->bytes() / 2);
  CHECK(cache->layer(0).num_kv_heads == 1);
}

TEST_CASE("the cache of latent attention holds each head's key and value") {
  const DecoderSpec spec = RichSpec();
  const RankPlan plan = Plans(spec, 2, 2)[3];
  // 2 layers, 4 heads; keys 24 x 16, values 16 x 32.
  CHECK(shard_loader::KvBytesPerBlock(spec, plan, DType::kF32) == 2 * 4 * (384 + 512) * 4);
}

TEST_CASE("buffers of the workspace do not overlap") {
  const DecoderSpec spec = GENERATE(SmallSpec(), RichSpec(), ParallelSpec());
  for (const RankPlan& plan : Plans(spec, 3, 2)) {
    const auto layout = shard_loader::MakeWorkspaceLayout(spec, plan, {20, 4});
    int64_t end = 0;
    for (const auto& span :
         {layout.residual,    layout.normed,        layout.branch,       layout.embedded,
          layout.angles,      layout.local_angles,  layout.query,        layout.key,
          layout.value,       layout.attention,     layout.query_latent, layout.latent,
          layout.key_rope,    layout.key_parts,     layout.squares,      layout.gate,
          layout.up,          layout.router,        layout.expert_input, layout.expert_gate,
          layout.expert_up,   layout.expert_parts,  layout.expert_sums,  layout.roots,
          layout.logit_input, layout.logit_project, layout.shard_logits, layout.rank_logits,
          layout.logits,      layout.sampling}) {
      if (span.bytes == 0) continue;
      CHECK(span.offset >= end);
      end = span.offset + span.bytes;
    }
    CHECK(layout.arena_bytes >= end);
    CHECK(layout.residual.bytes == 20 * 40 * 4);
    CHECK((layout.logits.bytes > 0) == (plan.has_head && plan.tp_index == 0));
  }
}

TEST_CASE("the sums of a parallel residual stand side by side") {
  const DecoderSpec spec = ParallelSpec();
  for (int tp : {1, 2, 3}) {
    for (const RankPlan& plan : Plans(spec, tp, 1)) {
      const auto layout = shard_loader::MakeWorkspaceLayout(spec, plan, {21, 4});
      const auto roots = plan.attention_tree.MaximalSubtrees(plan.attention_lanes).size() +
                         plan.mlp_tree.MaximalSubtrees(plan.mlp_lanes).size();
      CHECK(layout.roots.bytes == static_cast<int64_t>(roots) * 21 * 40 * 4);
      CHECK((layout.branch.bytes > 0) == (tp > 1));
      if (tp == 1) continue;
      CHECK(layout.branch.offset + layout.branch.bytes >=
            layout.normed.offset + 2 * layout.normed.bytes);
      CHECK(layout.branch.offset - (layout.normed.offset + layout.normed.bytes) <
            shard_loader::kPackedAlignment);
    }
  }
}

TEST_CASE("experts beside a parallel residual are refused by name") {
  DecoderSpec spec = RichSpec();
  spec.residual = shard_loader::Residual::kParallelOneNorm;
  const auto plans = shard_loader::MakeRankPlans(spec, {1, 1, 8});
  CHECK(plans.status().code() == absl::StatusCode::kUnimplemented);
}

TEST_CASE("the bytes planned for sums between ranks are those that the communicators need") {
  const DecoderSpec spec = GENERATE(SmallSpec(), RichSpec(), ParallelSpec());
  for (int tp : {2, 3, 5, 8}) {
    for (const RankPlan& plan : Plans(spec, tp, 1)) {
      for (int64_t tokens : {1, 100, 300, 5000}) {
        INFO("tp " << tp << ", rank " << plan.rank << ", " << tokens << " tokens");
        const auto layout = shard_loader::MakeWorkspaceLayout(spec, plan, {tokens, 4});
        const int64_t count = tokens * spec.hidden_size;
        size_t needed = 0;
        const auto exchange = [&](const std::vector<SharedLanes>& sums) {
          needed = std::max(needed, LaneSumWorkspace::Bytes(sums, plan.tp_index, count));
        };
        const SharedLanes attention = {&plan.attention_tree, plan.attention_lanes_by_rank};
        const SharedLanes mlp = {&plan.mlp_tree, plan.mlp_lanes_by_rank};
        if (spec.residual == shard_loader::Residual::kSequential) {
          exchange({attention});
          exchange({mlp});
        } else {
          exchange({attention, mlp});
        }
        for (const auto& dimension : {plan.moe, plan.shared}) {
          if (dimension.lanes_by_rank.empty()) continue;
          exchange({{&dimension.tree, dimension.lanes_by_rank}});
        }
        CHECK(layout.lane_sum_bytes == static_cast<int64_t>(needed));
      }
    }
  }
}

}  // namespace
}  // namespace tessera::worker
