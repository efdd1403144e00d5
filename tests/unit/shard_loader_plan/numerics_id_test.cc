#include "shard_loader/plan/numerics_id.h"

#include <catch2/catch.hpp>

namespace tessera::shard_loader {
namespace {

TEST_CASE("a numerics id is one short string, and comes back from it") {
  const NumericsId id{.kernel_set = "cpu-f32", .weight_dtype = "bf16", .kv_dtype = "f16"};
  CHECK(id.ToString() == "v1/cpu-f32/w=bf16/kv=f16/lanes=8/experts=-/tile=256/rope=0");
  CHECK(NumericsId::Parse(id.ToString()).value() == id);
}

TEST_CASE("ids differ where any part of them differs") {
  const NumericsId id{.kernel_set = "cpu-f32", .weight_dtype = "f32", .kv_dtype = "f32"};
  std::vector<NumericsId> others(8, id);
  others[0].kernel_set = "cpu-bf16";
  others[1].weight_dtype = "bf16";
  others[2].kv_dtype = "bf16";
  others[3].lanes = 16;
  others[4].expert_order = "experts";
  others[5].attention_tile = 128;
  others[6].rope_context = 4096;
  others[7].version = 2;
  for (const NumericsId& other : others) {
    CHECK_FALSE(other == id);
    CHECK(other.ToString() != id.ToString());
    CHECK(NumericsId::Parse(other.ToString()).value() == other);
  }
}

TEST_CASE("only the one spelling of an id is read") {
  for (const char* text : {"", "v1", "v1/cpu/w=f32/kv=f32/lanes=8/experts=-/tile=256", "nonsense",
                           "v01/cpu/w=f32/kv=f32/lanes=8/experts=-/tile=256/rope=0",
                           "v1/cpu/w=f32/kv=f32/lanes= 8/experts=-/tile=256/rope=0",
                           "v1/c pu/w=f32/kv=f32/lanes=8/experts=-/tile=256/rope=0",
                           "v1/cpu/w=f32/kv=f32/lanes=8/experts=-/tile=256/rope=0/",
                           "v1/cpu/kv=f32/w=f32/lanes=8/experts=-/tile=256/rope=0",
                           "v1/cpu/w=f32/kv=f32/lanes=99999999999/experts=-/tile=256/rope=0"}) {
    INFO(text);
    CHECK(NumericsId::Parse(text).status().code() == absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace tessera::shard_loader
