#include "shard_loader/model/stored_rows.h"

#include <catch2/catch.hpp>

namespace tessera::shard_loader {
namespace {

using Shape = std::vector<int64_t>;

DecoderSpec Spec() {
  DecoderSpec spec;
  spec.num_layers = 1;
  spec.hidden_size = 10;
  spec.attention.num_heads = 8;
  spec.attention.num_kv_heads = 4;
  spec.attention.head_size = 2;
  spec.mlp.intermediate_size = 6;
  return spec;
}

std::vector<Shape> Runs(const DecoderSpec& spec, const NamePattern& pattern) {
  std::vector<Shape> runs;
  for (const RowRun& run : RowsInStored(spec, pattern)) {
    runs.push_back({run.ours, run.stored, run.count, run.step});
  }
  return runs;
}

TEST_CASE("blocks lie one after the other") {
  const NamePattern value{TensorRole::kValue, "qkv", StoredAs::kBlocks};
  CHECK(Runs(Spec(), value) == std::vector<Shape>{{0, 24, 8, 1}});
  CHECK(StoredShape(Spec(), value) == Shape{32, 10});
  const NamePattern up{TensorRole::kUp, "gate_up", StoredAs::kBlocks, true};
  CHECK(Runs(Spec(), up) == std::vector<Shape>{{0, 6, 6, 1}});
  CHECK(StoredShape(Spec(), up) == Shape{10, 12});
}

TEST_CASE("a group has its queries, its key and its value") {
  // Two queries of two elements, a key, a value: eight rows for each of four groups.
  const NamePattern query{TensorRole::kQuery, "qkv", StoredAs::kGroups};
  CHECK(Runs(Spec(), query) ==
        std::vector<Shape>{{0, 0, 4, 1}, {4, 8, 4, 1}, {8, 16, 4, 1}, {12, 24, 4, 1}});
  const NamePattern value{TensorRole::kValueBias, "qkv", StoredAs::kGroups};
  CHECK(Runs(Spec(), value)[1] == Shape{2, 14, 2, 1});
  CHECK(StoredShape(Spec(), value) == Shape{32});
}

TEST_CASE("CodeGen has queries, values and keys of a quarter of the heads four times") {
  DecoderSpec spec = Spec();
  spec.attention.num_kv_heads = 8;
  const NamePattern key{TensorRole::kKey, "qkv", StoredAs::kCodegen};
  CHECK(Runs(spec, key) ==
        std::vector<Shape>{{0, 8, 4, 1}, {4, 20, 4, 1}, {8, 32, 4, 1}, {12, 44, 4, 1}});
}

TEST_CASE("experts in one tensor have a dimension more, and pairs alternate") {
  DecoderSpec spec = Spec();
  spec.moe.num_experts = 3;
  spec.moe.intermediate_size = 5;
  const NamePattern up{TensorRole::kExpertUp, "{}.gate_up", StoredAs::kPairs, true};
  CHECK(HoldsAllExperts(up));
  CHECK(StoredShape(spec, up) == Shape{3, 10, 10});
  CHECK(Runs(spec, up) == std::vector<Shape>{{0, 1, 5, 2}});
  CHECK_FALSE(HoldsAllExperts({TensorRole::kExpertUp, "{}.experts.{e}.up"}));
}

TEST_CASE("a head's two products of the latent lie side by side") {
  DecoderSpec spec = Spec();
  spec.attention.num_kv_heads = 8;
  spec.attention.head_size = 5;
  spec.attention.rotary_size = 2;
  spec.attention.value_size = 4;
  spec.attention.latent.kv_rank = 6;
  const NamePattern value{TensorRole::kValue, "kv_b", StoredAs::kLatentHeads};
  CHECK(Runs(spec, value)[1] == Shape{4, 10, 4, 1});
  CHECK(StoredShape(spec, value) == Shape{56, 6});
}

}  // namespace
}  // namespace tessera::shard_loader
