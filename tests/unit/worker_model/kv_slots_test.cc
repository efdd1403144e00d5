#include "worker/model/kv_slots.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "shard_loader/load/checkpoint.h"
#include "tests/support/fixtures.h"

namespace tessera::worker {
namespace {

constexpr int64_t kBlocks = 4;

KvCache MakeCache(const shard_loader::KvFormat& format) {
  const auto checkpoint =
      shard_loader::Checkpoint::Open(tests::Fixture("checkpoints/llama_small")).value();
  const auto plans = shard_loader::MakeRankPlans(checkpoint->spec(), {1, 1, 8}).value();
  auto cache = KvCache::Create(checkpoint->spec(), plans[0], format, kBlocks);
  REQUIRE(cache.ok());
  return *std::move(cache);
}

std::vector<std::byte> Pattern(int seed, int64_t bytes) {
  std::vector<std::byte> pattern(bytes);
  for (int64_t i = 0; i < bytes; ++i) pattern[i] = static_cast<std::byte>(seed * 31 + i * 7 % 251);
  return pattern;
}
void Fill(KvCache& cache, int64_t block, int seed) {
  cache.CopyBlockIn(Pattern(seed, cache.block_bytes()).data(), block);
}
bool Holds(KvCache& cache, int64_t block, int seed) {
  std::vector<std::byte> found(cache.block_bytes());
  cache.CopyBlockOut(block, found.data());
  return found == Pattern(seed, cache.block_bytes());
}

std::unique_ptr<KvSlots> Make(KvCache* cache, int64_t num_slots, const std::string& folder) {
  auto slots = KvSlots::Create(cache, num_slots, folder);
  INFO(slots.status().ToString());
  REQUIRE(slots.ok());
  return *std::move(slots);
}

TEST_CASE("a block's contents are those of all layers, and no other block's") {
  for (const auto& format :
       {shard_loader::KvFormat(shard_loader::DType::kF32), shard_loader::KvFormat::Int8()}) {
    KvCache cache = MakeCache(format);
    CHECK(cache.block_bytes() * kBlocks == cache.bytes());
    for (int block = 0; block < kBlocks; ++block) Fill(cache, block, block);
    for (int block = 0; block < kBlocks; ++block) CHECK(Holds(cache, block, block));
    cache.CopyBlock(2, 0);
    CHECK(Holds(cache, 0, 2));
    CHECK(Holds(cache, 1, 1));
  }
}

TEST_CASE("what is spilled to memory or to a file comes back, to any block") {
  tests::TempDir folder;
  for (const std::string& dir : {std::string(), folder.path().string()}) {
    KvCache cache = MakeCache(shard_loader::DType::kF32);
    const auto slots = Make(&cache, 3, dir);
    CHECK(slots->bytes() == 3 * cache.block_bytes());
    for (int i = 0; i < 3; ++i) {
      Fill(cache, 1, 10 + i);
      REQUIRE(slots->Spill(1, 2 - i).ok());
    }
    Fill(cache, 1, 99);
    for (int i = 0; i < 3; ++i) {
      REQUIRE(slots->Fetch(2 - i, i == 1 ? 3 : i).ok());
      CHECK(Holds(cache, i == 1 ? 3 : i, 10 + i));
    }
    CHECK(Holds(cache, 1, 99));
    // A slot is written over, and read as often as one likes.
    REQUIRE(slots->Spill(1, 0).ok());
    for (int block : {0, 2}) {
      REQUIRE(slots->Fetch(0, block).ok());
      CHECK(Holds(cache, block, 99));
    }
  }
}

TEST_CASE("measuring a fetch leaves the cache as it is") {
  tests::TempDir folder;
  for (const std::string& dir : {std::string(), folder.path().string()}) {
    KvCache cache = MakeCache(shard_loader::DType::kF32);
    for (int block = 0; block < kBlocks; ++block) Fill(cache, block, block);
    const auto time = Make(&cache, 1, dir)->MeasureFetch();
    REQUIRE(time.ok());
    CHECK(*time > absl::ZeroDuration());
    for (int block = 0; block < kBlocks; ++block) CHECK(Holds(cache, block, block));
  }
}

TEST_CASE("a file of slots has no name, and takes its room at once") {
  tests::TempDir folder;
  KvCache cache = MakeCache(shard_loader::DType::kF32);
  const auto slots = Make(&cache, 64, folder.path().string());
  CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("slots that cannot be made are refused by name") {
  KvCache cache = MakeCache(shard_loader::DType::kF32);
  for (const char* folder : {"/no/such/folder", "/dev/null", "/proc/self"}) {
    const auto slots = KvSlots::Create(&cache, 1, folder);
    CHECK(absl::IsFailedPrecondition(slots.status()));
    CHECK_THAT(std::string(slots.status().message()),
               Catch::Contains("--kv-offload") && Catch::Contains(folder));
  }
  tests::TempDir folder;
  const int64_t too_many = (int64_t{1} << 60) / cache.block_bytes();
  for (const std::string& dir : {std::string(), folder.path().string()}) {
    const auto slots = KvSlots::Create(&cache, too_many, dir);
    CHECK(absl::IsResourceExhausted(slots.status()));
    CHECK_THAT(std::string(slots.status().message()), Catch::Contains("--kv-offload"));
  }
}

}  // namespace
}  // namespace tessera::worker
