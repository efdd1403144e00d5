#include "shard_loader/load/convert.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "shard_loader/model/tensors.h"
#include "tests/support/fixtures.h"

namespace tessera::shard_loader {
namespace {

namespace fs = std::filesystem;
using Slices = std::map<TensorId, std::vector<std::byte>>;

std::unique_ptr<Checkpoint> Open(const fs::path& folder) {
  auto checkpoint = Checkpoint::Open(folder);
  INFO(folder.string() << ": " << checkpoint.status().ToString());
  REQUIRE(checkpoint.ok());
  return *std::move(checkpoint);
}

std::vector<Slices> LoadAll(const Checkpoint& checkpoint, const Layout& layout) {
  std::vector<Slices> ranks;
  const auto plans = MakeRankPlans(checkpoint.spec(), layout);
  REQUIRE(plans.ok());
  for (const RankPlan& plan : *plans) {
    Slices slices;
    REQUIRE(LoadShard(checkpoint, plan, [&](const HostTensor& tensor) {
              slices[tensor.id].assign(tensor.bytes.begin(), tensor.bytes.end());
              return absl::OkStatus();
            }).ok());
    ranks.push_back(std::move(slices));
  }
  return ranks;
}

void CheckSame(const Checkpoint& a, const Checkpoint& b) {
  for (const Layout& layout : {Layout{1, 1}, Layout{2, 2}, Layout{3, 1}}) {
    CHECK(LoadAll(a, layout) == LoadAll(b, layout));
  }
}

TEST_CASE("a checkpoint of any format becomes safetensors with the same numbers") {
  for (const char* fixture :
       {"formats/megatron_core_llama_gqa_tp2", "formats/gguf_llama_q8_0", "formats/meta_llama_mp2",
        "formats/orbax_ocdbt_llama", "checkpoints/qwen3", "checkpoints/llama_mqa_tied"}) {
    INFO(fixture);
    tests::TempDir dir;
    const auto source = Open(tests::Fixture(fixture));
    const auto converted = Convert(*source, dir.path() / "out", {});
    INFO(converted.status().ToString());
    REQUIRE(converted.ok());
    const auto out = Open(dir.path() / "out");
    CHECK(out->format() == "safetensors");
    CHECK(out->dtype() == source->dtype());
    CHECK(converted->files.size() == 1);
    CHECK(fs::exists(dir.path() / "out" / "tokenizer.json") ==
          fs::exists(tests::Fixture(fixture) / "tokenizer.json"));
    CheckSame(*source, *out);
  }
}

TEST_CASE("a large one becomes several files with an index") {
  tests::TempDir dir;
  const auto source = Open(tests::Fixture("checkpoints/llama_small"));
  const auto converted = Convert(*source, dir.path() / "out", {.largest_file = 100'000});
  REQUIRE(converted.ok());
  CHECK(converted->files.size() > 2);
  CHECK(converted->files[0].name.starts_with("model-00001-of-0000"));
  CheckSame(*source, *Open(dir.path() / "out"));
}

TEST_CASE("one that is cut for ranks holds every byte once, and is read at any degrees") {
  for (const char* fixture :
       {"checkpoints/llama_mqa_tied", "checkpoints/qwen2", "formats/megatron_llama_tp2"}) {
    for (const int tp : {1, 2, 3, 4}) {
      INFO(fixture << " cut for " << tp);
      tests::TempDir dir;
      const auto source = Open(tests::Fixture(fixture));
      const auto converted = Convert(*source, dir.path() / "out", {.tp = tp});
      INFO(converted.status().ToString());
      REQUIRE(converted.ok());
      CHECK(converted->files.size() == static_cast<size_t>(tp));
      const auto out = Open(dir.path() / "out");
      CHECK(out->format() == "tessera");
      CHECK(out->total_bytes() == source->total_bytes());
      CheckSame(*source, *out);
    }
  }
}

TEST_CASE("nothing is written over, and an impossible cut is refused") {
  tests::TempDir dir;
  const auto source = Open(tests::Fixture("checkpoints/llama_small"));
  std::ofstream(dir.path() / "mine") << "x";
  CHECK(absl::IsAlreadyExists(Convert(*source, dir.path(), {}).status()));
  CHECK(absl::IsFailedPrecondition(Convert(*source, dir.path() / "out", {.tp = 9}).status()));
  CHECK_FALSE(fs::exists(dir.path() / "out" / "config.json"));
}

TEST_CASE("an index of cuts that does not fit its files is refused by name") {
  tests::TempDir dir;
  const auto source = Open(tests::Fixture("checkpoints/llama_small"));
  const fs::path out = dir.path() / "out";
  REQUIRE(Convert(*source, out, {.tp = 2}).ok());
  const std::string index = tests::ReadFile(out / "tessera.cut.json");
  const auto with = [&](const std::string& replaced, const std::string& by) {
    std::string changed = index;
    REQUIRE(changed.find(replaced) != std::string::npos);
    changed.replace(changed.find(replaced), replaced.size(), by);
    std::ofstream(out / "tessera.cut.json", std::ios::binary) << changed;
    return Checkpoint::Open(out).status();
  };
  CHECK(absl::IsUnimplemented(with("tessera cut 1", "tessera cut 2")));
  CHECK(absl::IsDataLoss(with("model-tp-01-of-02.safetensors", "../01-of-02.safetensors")));
  CHECK(absl::IsDataLoss(with("model-tp-01-of-02.safetensors", "model-tp-05-of-02.safetensors")));
  CHECK(absl::IsDataLoss(with("\"embedding\"", "\"embeddinh\"")));
  CHECK(absl::IsDataLoss(with("\"tensors\"", "\"tensorz\"")));
  fs::remove(out / "model-tp-00-of-02.safetensors");
  CHECK(absl::IsDataLoss(with("tessera cut 1", "tessera cut 1")));
}

}  // namespace
}  // namespace tessera::shard_loader
