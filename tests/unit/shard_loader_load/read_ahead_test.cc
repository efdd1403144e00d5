#include "shard_loader/load/read_ahead.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>

#include <catch2/catch.hpp>

#include "absl/strings/str_cat.h"
#include "shard_loader/load/load_shard.h"
#include "shard_loader/plan/slices.h"
#include "tests/support/fixtures.h"

namespace tessera::shard_loader {
namespace {

namespace fs = std::filesystem;

void Forget(const fs::path& path) {
  const int descriptor = open(path.c_str(), O_RDONLY);
  REQUIRE(descriptor >= 0);
  REQUIRE(fsync(descriptor) == 0);
  REQUIRE(posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED) == 0);
  close(descriptor);
}

// A llama of one layer and 33 MB, more than is fetched ahead, whose numbers begin at an odd byte;
// none of it is in the page cache once Forget was called.
class LargeModel {
 public:
  LargeModel() {
    std::ofstream(folder_.path() / "config.json")
        << R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 512,
               "intermediate_size": 2048, "num_hidden_layers": 1, "num_attention_heads": 8,
               "num_key_value_heads": 2, "vocab_size": 25003, "tie_word_embeddings": true})";
    const std::string layer = "model.layers.0.";
    Add("model.embed_tokens.weight", {25003, 512});
    Add(layer + "input_layernorm.weight", {512});
    Add(layer + "self_attn.q_proj.weight", {512, 512});
    Add(layer + "self_attn.k_proj.weight", {128, 512});
    Add(layer + "self_attn.v_proj.weight", {128, 512});
    Add(layer + "self_attn.o_proj.weight", {512, 512});
    Add(layer + "post_attention_layernorm.weight", {512});
    Add(layer + "mlp.gate_proj.weight", {2048, 512});
    Add(layer + "mlp.up_proj.weight", {2048, 512});
    Add(layer + "mlp.down_proj.weight", {512, 2048});
    Add("model.norm.weight", {512});
    header_ += "}";
    if (header_.size() % 2 == 0) header_ += " ";
    std::string data(offset_, '\0');
    for (size_t i = 0; i + 1 < data.size(); i += 2) {
      const uint32_t mixed = static_cast<uint32_t>(i) * 2654435761u;
      data[i] = static_cast<char>(mixed >> 16);
      data[i + 1] = static_cast<char>(0x3c);
    }
    const uint64_t length = header_.size();
    bytes_.assign(reinterpret_cast<const char*>(&length), sizeof(length));
    bytes_ += header_ + data;
    std::ofstream(file(), std::ios::binary) << bytes_;
    checkpoint_ = Checkpoint::Open(folder_.path()).value();
  }

  fs::path file() const { return folder_.path() / "model.safetensors"; }
  const std::string& bytes() const { return bytes_; }
  const Checkpoint& checkpoint() const { return *checkpoint_; }

 private:
  void Add(const std::string& name, const std::vector<int64_t>& shape) {
    const uint64_t size = 2 * static_cast<uint64_t>(shape[0] * (shape.size() > 1 ? shape[1] : 1));
    absl::StrAppend(&header_, header_.empty() ? "{" : ",", "\"", name,
                    R"(": {"dtype": "BF16", "shape": [)", shape[0],
                    shape.size() > 1 ? absl::StrCat(",", shape[1]) : "", R"(], "data_offsets": [)",
                    offset_, ",", offset_ + size, "]}");
    offset_ += size;
  }

  tests::TempDir folder_;
  std::string header_;
  uint64_t offset_ = 0;
  std::string bytes_;
  std::unique_ptr<Checkpoint> checkpoint_;
};

Stretch Whole(uint64_t begin, uint64_t end, int parts = 1) {
  return {.spans = {{0, begin, end}}, .whole = true, .parts = parts};
}

bool Never() { return false; }

// Every row of every slice, as it stands in the file.
void CheckLoad(const LargeModel& model, const RankPlan& plan, int threads) {
  std::atomic<int> wrong{0};
  const auto compare = [&](const HostTensor& got) {
    const StoredTensor& tensor = *model.checkpoint().Find(
        got.id.role == TensorRole::kHead ? TensorId{-1, TensorRole::kEmbedding} : got.id);
    TensorSlice slice;
    for (const TensorSlice& one : RankSlices(model.checkpoint().spec(), plan)) {
      if (one.id == got.id) slice = one;
    }
    const int64_t width = tensor.shape.size() > 1 ? tensor.shape[1] : 1;
    const auto bytes = static_cast<size_t>(slice.columns.size() * 2);
    for (int64_t row = got.rows.begin; row < got.rows.end; ++row) {
      const int64_t element = (slice.rows.begin + row) * width + slice.columns.begin;
      const char* const want = model.bytes().data() + tensor.offset + element * 2;
      const std::byte* const from =
          got.bytes.data() + static_cast<size_t>(row - got.rows.begin) * bytes;
      if (std::memcmp(want, from, bytes) != 0) ++wrong;
    }
    return absl::OkStatus();
  };
  const auto stats =
      LoadShard(model.checkpoint(), plan, compare, {.threads = threads, .part_bytes = 256 << 10});
  REQUIRE(stats.ok());
  CHECK(wrong == 0);
  CHECK(stats->bytes_read == stats->bytes_total);
  CHECK(stats->bytes_read == ShardBytes(model.checkpoint(), plan).value());
}

TEST_CASE("a cold load and a warm one hand out the same bytes at any number of threads") {
  const LargeModel model;
  for (const int tp : {1, 2, 4}) {
    const auto plans = MakeRankPlans(model.checkpoint().spec(), {tp, 1}).value();
    for (const RankPlan& plan : plans) {
      for (const int threads : {1, 3}) {
        INFO("tp " << tp << ", rank " << plan.rank << ", threads " << threads);
        Forget(model.file());
        CheckLoad(model, plan, threads);
        tests::ReadFile(model.file());
        CheckLoad(model, plan, threads);
      }
    }
  }
}

TEST_CASE("stretches are fetched in their order, no more than a few ahead of those given back") {
  const LargeModel model;
  Forget(model.file());
  std::vector<Stretch> stretches;
  constexpr uint64_t kBytes = 100000;
  for (uint64_t i = 0; i < 20; ++i) stretches.push_back(Whole(i * kBytes + 1, (i + 1) * kBytes, 2));
  std::atomic<int> asked{0};
  ReadAhead ahead(model.checkpoint(), stretches, [&] {
    ++asked;
    return false;
  });
  for (int i = 0; i < 20; ++i) {
    const FetchedBytes fetched = ahead.Take(i);
    CHECK(asked <= i + ReadAhead::kAhead);
    CHECK(ahead.Take(i).bytes.data() == fetched.bytes.data());
    CHECK(fetched.file == 0);
    if (!fetched.bytes.empty()) {  // the file system has such reads
      CHECK(fetched.offset == i * kBytes + 1);
      REQUIRE(fetched.bytes.size() == kBytes - 1);
      CHECK(std::memcmp(fetched.bytes.data(), model.bytes().data() + fetched.offset, kBytes - 1) ==
            0);
    }
    ahead.GiveBack(i);
    CHECK(asked <= i + ReadAhead::kAhead);
    ahead.GiveBack(i);
  }
  CHECK(asked == 20);
}

TEST_CASE("what the page cache has, is too small or does not exist is not held in memory") {
  const LargeModel model;
  tests::ReadFile(model.file());
  const uint64_t size = model.bytes().size();
  {
    ReadAhead ahead(model.checkpoint(), {Whole(0, 1 << 20)}, Never);
    CHECK(ahead.Take(0).bytes.empty());
  }
  Forget(model.file());
  Stretch gaps = Whole(1 << 20, 2 << 20);
  gaps.whole = false;
  ReadAhead ahead(model.checkpoint(),
                  {Whole(0, ReadAhead::kLeastBytes - 1), Whole(0, ReadAhead::kMostBytes + 1),
                   Whole(size - 100000, size + 1), gaps},
                  Never);
  for (size_t i = 0; i < 4; ++i) {
    INFO(i);
    CHECK(ahead.Take(i).bytes.empty());
    ahead.GiveBack(i);
  }
}

TEST_CASE("nobody waits for a stretch of a read-ahead that was cancelled or stopped") {
  const LargeModel model;
  const std::vector<Stretch> stretches(10, Whole(0, 1 << 20));
  std::atomic<bool> cancel{false};
  ReadAhead cancelled(model.checkpoint(), stretches, [&] { return cancel.load(); });
  cancelled.Take(0);
  cancel = true;
  cancelled.GiveBack(0);
  for (size_t i = 1; i < stretches.size(); ++i) cancelled.Take(i);

  ReadAhead stopped(model.checkpoint(), stretches, Never);
  std::thread waits([&] { CHECK(stopped.Take(9).bytes.empty()); });
  stopped.Stop();
  waits.join();
}

TEST_CASE("what a file that was cut short does not have any more is not held in memory") {
  const LargeModel model;
  Forget(model.file());
  std::vector<Stretch> stretches;
  for (uint64_t i = 0; i < 20; ++i) stretches.push_back(Whole(i << 20, (i + 1) << 20));
  ReadAhead ahead(model.checkpoint(), stretches, Never);
  ahead.Take(0);
  fs::resize_file(model.file(), (18 << 20) + 5);
  for (size_t i = 0; i < stretches.size(); ++i) {
    if (i >= 18) CHECK(ahead.Take(i).bytes.empty());
    ahead.Take(i);
    ahead.GiveBack(i);
  }
}

TEST_CASE("a cold file that is cut short while it is loaded is data loss that names it") {
  const LargeModel model;
  const RankPlan plan = MakeRankPlans(model.checkpoint().spec(), {1, 1}).value()[0];
  Forget(model.file());
  uint64_t handed = 0;
  const auto status = LoadShard(model.checkpoint(), plan,
                                [&](const HostTensor& tensor) {
                                  if (handed == 0) fs::resize_file(model.file(), 30 << 20);
                                  handed += tensor.bytes.size();
                                  return absl::OkStatus();
                                },
                                {.part_bytes = 256 << 10})
                          .status();
  CHECK(status.code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(status.message()),
             Catch::Contains("model.safetensors: ") && Catch::Contains(" 31457280"));
  CHECK(handed < model.bytes().size());
}

TEST_CASE("a cold load that is cancelled says how far it came") {
  const LargeModel model;
  const RankPlan plan = MakeRankPlans(model.checkpoint().spec(), {1, 1}).value()[0];
  for (const int threads : {1, 3}) {
    Forget(model.file());
    std::atomic<bool> cancel{false};
    std::atomic<int> parts{0};
    const auto status = LoadShard(model.checkpoint(), plan,
                                  [&](const HostTensor&) {
                                    if (++parts == 5) cancel = true;
                                    return absl::OkStatus();
                                  },
                                  {.threads = threads, .part_bytes = 64 << 10, .cancel = &cancel})
                            .status();
    CHECK(status.code() == absl::StatusCode::kCancelled);
    CHECK_THAT(std::string(status.message()), Catch::Contains("cancelled at byte"));
    CHECK(parts < 5 + threads);
  }
}

TEST_CASE("an error of the consumer ends a cold load at once") {
  const LargeModel model;
  const RankPlan plan = MakeRankPlans(model.checkpoint().spec(), {1, 1}).value()[0];
  Forget(model.file());
  std::atomic<int> parts{0};
  const auto status = LoadShard(model.checkpoint(), plan,
                                [&](const HostTensor&) -> absl::Status {
                                  if (++parts < 7) return absl::OkStatus();
                                  return absl::ResourceExhaustedError("no room");
                                },
                                {.threads = 3, .part_bytes = 64 << 10})
                          .status();
  CHECK(status.code() == absl::StatusCode::kResourceExhausted);
  CHECK(parts < 7 + 3);
}

}  // namespace
}  // namespace tessera::shard_loader
