// Slots of a cache that the host reaches only by copies, which run later than they are asked for.
#include <catch2/catch.hpp>
#include <vector>

#include "shard_loader/load/checkpoint.h"
#include "tests/support/fixtures.h"
#include "tests/unit/worker_model_device/far_memory.h"
#include "worker/model/kv_slots.h"

namespace tessera::tests {
namespace {

using worker::KvCache;
using worker::KvSlots;

KvCache MakeCache(FarMemory& memory) {
  const auto checkpoint =
      shard_loader::Checkpoint::Open(Fixture("checkpoints/llama_small")).value();
  const auto plans = shard_loader::MakeRankPlans(checkpoint->spec(), {1, 1, 8}).value();
  auto cache = KvCache::Create(checkpoint->spec(), plans[0], shard_loader::DType::kF32, 3, memory);
  REQUIRE(cache.ok());
  return *std::move(cache);
}

TEST_CASE("spills and fetches of far memory keep the order in which they are asked for") {
  TempDir folder;
  for (const std::string& dir : {std::string(), folder.path().string()}) {
    FarMemory memory;
    KvCache cache = MakeCache(memory);
    const auto fill = [&](int64_t block, int value) {
      const std::vector<std::byte> contents(cache.block_bytes(), static_cast<std::byte>(value));
      cache.CopyBlockIn(contents.data(), block);
    };
    const auto slots = KvSlots::Create(&cache, 2, dir).value();
    fill(0, 1);
    // Nothing has arrived anywhere when the next one is asked for.
    REQUIRE(slots->Spill(0, 0).ok());
    fill(0, 2);
    REQUIRE(slots->Fetch(0, 1).ok());
    REQUIRE(slots->Spill(0, 1).ok());
    REQUIRE(slots->Spill(1, 0).ok());
    fill(0, 3);
    fill(1, 4);
    REQUIRE(slots->Fetch(1, 2).ok());
    REQUIRE(slots->Spill(0, 1).ok());
    REQUIRE(slots->Fetch(0, 0).ok());
    REQUIRE(slots->Fetch(1, 1).ok());
    const int expected[] = {1, 3, 2};
    for (int64_t block = 0; block < 3; ++block) {
      std::vector<std::byte> found(cache.block_bytes());
      cache.CopyBlockOut(block, found.data());
      REQUIRE(memory.Finish().ok());
      CHECK(found == std::vector<std::byte>(found.size(), static_cast<std::byte>(expected[block])));
    }
    CHECK(slots->MeasureFetch().ok());
  }
}

}  // namespace
}  // namespace tessera::tests
