// How many bytes a rank reads of a checkpoint, as the kernel counts them: its lanes, the whole
// tensors, and no more. TESSERA_LARGE_MODEL: of a model of more than 100 MB.
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <string>

#include "shard_loader/load/convert.h"
#include "shard_loader/load/load_shard.h"
#include "shard_loader/plan/slices.h"
#include "tests/support/fixtures.h"
#include "tests/unit/shard_loader_slices/writers.h"

namespace tessera::shard_loader {
namespace {

namespace fs = std::filesystem;

#ifdef TESSERA_LARGE_MODEL
constexpr ModelSize kSize{1024, 2816, 4, 16, 4, 8192};
#else
constexpr ModelSize kSize{256, 704, 2, 8, 2, 1024};
#endif
constexpr bool kIsLarge = kSize.hidden == 1024;

// What this process has asked of files by read and pread so far.
uint64_t BytesAsked() {
  std::ifstream io("/proc/self/io");
  std::string key;
  uint64_t bytes = 0;
  io >> key >> bytes;
  REQUIRE(key == "rchar:");
  return bytes;
}

// The rank's own numbers, and for blocks the one that a border cuts on each side of each row.
uint64_t OwnBytes(const Checkpoint& checkpoint, const RankPlan& plan) {
  uint64_t bytes = 0;
  for (const TensorSlice& slice : RankSlices(checkpoint.spec(), plan)) {
    const StoredTensor& tensor = *checkpoint.Find(slice.source);
    const StoredBlock block = BlockOf(tensor.stored);
    if (block.elements == 1) {
      bytes += static_cast<uint64_t>(slice.elements() * block.bytes);
      continue;
    }
    const int64_t first = slice.columns.begin / block.elements;
    const int64_t last = (slice.columns.end + block.elements - 1) / block.elements;
    bytes += static_cast<uint64_t>(slice.rows.size() * (last - first) * block.bytes);
  }
  return bytes;
}

bool IsQuantised(const Checkpoint& checkpoint) {
  return BlockOf(checkpoint.Find({.role = TensorRole::kEmbedding})->stored).elements > 1;
}

void CheckReads(const fs::path& folder) {
  const auto opened = Checkpoint::Open(folder);
  INFO(folder.string() << ": " << opened.status().ToString());
  REQUIRE(opened.ok());
  const Checkpoint& checkpoint = **opened;
  uint64_t stored = 0;
  for (const auto& file : checkpoint.files()) stored += file.size;
  if (kIsLarge && !IsQuantised(checkpoint)) CHECK(stored > 100'000'000);
  for (const int tp : {1, 2, 4}) {
    const auto plans = MakeRankPlans(checkpoint.spec(), {tp, 1});
    REQUIRE(plans.ok());
    for (const RankPlan& plan : *plans) {
      for (const int threads : {1, 3}) {
        const uint64_t before = BytesAsked();
        const uint64_t cost = BytesAsked() - before;  // of asking
        const auto stats =
            LoadShard(checkpoint, plan, [](const HostTensor&) { return absl::OkStatus(); },
                      {.threads = threads, .part_bytes = 1 << 20});
        REQUIRE(stats.ok());
        const uint64_t asked = BytesAsked() - before - 2 * cost;
        INFO(checkpoint.format() << ", tp " << tp << ", rank " << plan.rank << " of " << stored);
        CHECK(stats->bytes_read == OwnBytes(checkpoint, plan));
        CHECK(stats->bytes_read == stats->bytes_total);
        CHECK(asked >= stats->bytes_read);
        CHECK(asked < stats->bytes_read + 4096);
      }
    }
  }
}

void CheckFormat(void (*write)(const ModelSize& size, const fs::path& folder)) {
  tests::TempDir dir;
  write(kSize, dir.path());
  CheckReads(dir.path());
}

TEST_CASE("a rank reads its lanes of safetensors and no more") {
  CheckFormat(WriteSafetensorsModel);
}
TEST_CASE("a rank reads its lanes of numpy archives and no more") { CheckFormat(WriteNpzModel); }
TEST_CASE("a rank reads its lanes of PyTorch files and no more") { CheckFormat(WriteTorchModel); }
TEST_CASE("a rank reads its lanes of Meta's files and no more") { CheckFormat(WriteMetaModel); }
TEST_CASE("a rank reads its lanes of Megatron's files and no more") {
  CheckFormat(WriteMegatronModel);
}
TEST_CASE("a rank reads its lanes of DeepSpeed's module states and no more") {
  CheckFormat(WriteDeepSpeedModel);
}
TEST_CASE("a rank reads its lanes of ZeRO's partitions and no more") {
  CheckFormat(WriteZero3Model);
}
TEST_CASE("a rank reads its lanes of DeepSpeed's universal files and no more") {
  CheckFormat(WriteUniversalModel);
}
TEST_CASE("a rank reads its lanes of Flax's msgpack and no more") { CheckFormat(WriteFlaxModel); }
TEST_CASE("a rank reads its lanes of GGUF in 16 bits and no more") { CheckFormat(WriteGgufModel); }
TEST_CASE("a rank reads its lanes of GGUF blocks and no more") { CheckFormat(WriteGgufQ8Model); }
TEST_CASE("a rank reads its lanes of zarr chunks and no more") { CheckFormat(WriteOrbaxModel); }

TEST_CASE("a rank reads its lanes of a checkpoint that was cut for others and no more") {
  tests::TempDir dir;
  WriteSafetensorsModel(kSize, dir.path() / "in");
  const auto source = Checkpoint::Open(dir.path() / "in").value();
  REQUIRE(Convert(*source, dir.path() / "out", {.tp = 3}).ok());
  CheckReads(dir.path() / "out");
}

}  // namespace
}  // namespace tessera::shard_loader
