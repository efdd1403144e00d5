#include "shard_loader/load/load_shard.h"

#include <cstring>
#include <filesystem>
#include <map>
#include <numeric>

#include <catch2/catch.hpp>

#include "shard_loader/model/tensors.h"
#include "shard_loader/plan/slices.h"
#include "tests/support/fixtures.h"

namespace tessera::shard_loader {
namespace {

namespace fs = std::filesystem;

std::unique_ptr<Checkpoint> OpenFixture(const std::string& name) {
  return Checkpoint::Open(tests::Fixture("checkpoints/" + name)).value();
}

// The files as they are, whole.
std::vector<std::string> WholeFiles(const Checkpoint& checkpoint) {
  std::vector<std::string> files;
  for (const CheckpointFile& file : checkpoint.files()) {
    files.push_back(tests::ReadFile(checkpoint.folder() / file.name));
  }
  return files;
}

// The slice, cut element by element out of the whole file.
std::string NaiveSlice(const StoredTensor& tensor, const std::string& file,
                       const TensorSlice& slice) {
  const int64_t width = tensor.shape.size() > 1 ? tensor.shape[1] : 1;
  const auto size = static_cast<size_t>(DTypeSize(tensor.dtype));
  std::string bytes;
  for (int64_t row = slice.rows.begin; row < slice.rows.end; ++row) {
    for (int64_t column = slice.columns.begin; column < slice.columns.end; ++column) {
      const auto element = static_cast<size_t>(row * width + column);
      bytes.append(file, tensor.offset + element * size, size);
    }
  }
  return bytes;
}

// How often each element of each stored tensor is held by a rank of stage and tensor degree.
using Coverage = std::map<TensorId, std::vector<int>>;

void Count(const StoredTensor& tensor, const TensorSlice& slice, Coverage& coverage) {
  const int64_t width = tensor.shape.size() > 1 ? tensor.shape[1] : 1;
  std::vector<int>& counts = coverage[tensor.id];
  counts.resize(static_cast<size_t>(NumElements(tensor.shape)));
  for (int64_t row = slice.rows.begin; row < slice.rows.end; ++row) {
    for (int64_t column = slice.columns.begin; column < slice.columns.end; ++column) {
      ++counts[static_cast<size_t>(row * width + column)];
    }
  }
}

// Whether the weight lies in its file as it is: not fused, not transposed. (What others hold is
// shown by the golden tests of their families.)
bool IsWholeMatrix(const StoredTensor& tensor) {
  const SourcePiece& piece = tensor.pieces[0];
  const int64_t size = DTypeSize(tensor.dtype);
  if (tensor.pieces.size() > 1) return false;
  return tensor.shape.size() < 2 ||
         (piece.column_stride == size && piece.row_stride == tensor.shape[1] * size);
}

// Loads one rank and compares every slice with the naive cut of the whole file.
void CheckRank(const Checkpoint& checkpoint, const std::vector<std::string>& files,
               const RankPlan& plan, Coverage& coverage) {
  std::map<TensorId, TensorSlice> expected;
  uint64_t planned = 0;
  for (const TensorSlice& slice : RankSlices(checkpoint.spec(), plan)) {
    expected[slice.id] = slice;
    const StoredTensor* tensor = checkpoint.Find(slice.source);
    planned += static_cast<uint64_t>(slice.elements() * DTypeSize(tensor->dtype));
    Count(*tensor, slice, coverage);
  }
  size_t handed = 0;
  uint64_t last_done = 0;
  const auto stats = LoadShard(
      checkpoint, plan,
      [&](const HostTensor& got) {
        const TensorSlice& slice = expected.at(got.id);
        const StoredTensor& tensor = *checkpoint.Find(slice.source);
        const std::string want = NaiveSlice(tensor, files[tensor.file], slice);
        CHECK(got.dtype == tensor.dtype);
        CHECK(got.shape == slice.shape);
        REQUIRE(got.bytes.size() == want.size());
        if (IsWholeMatrix(tensor)) {
          CHECK(std::memcmp(got.bytes.data(), want.data(), want.size()) == 0);
        }
        ++handed;
        return absl::OkStatus();
      },
      [&](uint64_t done, uint64_t total) {
        CHECK(done > last_done);
        CHECK(total == planned);
        last_done = done;
      });
  REQUIRE(stats.ok());
  CHECK(handed == expected.size());
  CHECK(stats->bytes_read == planned);
  CHECK(stats->bytes_total == planned);
  CHECK(last_done == planned);
  CHECK(ShardBytes(checkpoint, plan).value() == planned);
}

TEST_CASE("at every layout each rank reads its slices only, and together they are the whole") {
  for (const auto& entry : fs::directory_iterator(tests::Fixture("checkpoints"))) {
    const auto checkpoint = OpenFixture(entry.path().filename().string());
    // Even and odd rows of one tensor are read together, for either.
    if (checkpoint->spec().family == "gpt_oss") continue;
    const std::vector<std::string> files = WholeFiles(*checkpoint);
    for (int pp : {1, 2, 4}) {
      for (int tp : {1, 2, 3, 4, 8}) {
        const auto plans = MakeRankPlans(checkpoint->spec(), {tp, pp, 8});
        if (!plans.ok()) continue;
        INFO(entry.path().filename().string() << " tp=" << tp << " pp=" << pp);
        Coverage coverage;
        for (const RankPlan& plan : *plans) CheckRank(*checkpoint, files, plan, coverage);
        CHECK(coverage.size() == checkpoint->tensors().size());
        for (const auto& [id, counts] : coverage) {
          const auto [least, most] = std::minmax_element(counts.begin(), counts.end());
          const CutBy by = CutOf(checkpoint->spec(), id.role).by;
          // Shared KV heads are repeated; a tied embedding is held by both ends of a pipeline.
          const bool twice =
              id.role == TensorRole::kEmbedding && pp > 1 && checkpoint->spec().tied_embeddings;
          CHECK(*least >= 1);
          if (by == CutBy::kNothing) CHECK(*least == tp);
          if (by == CutBy::kHeads || by == CutBy::kColumns) CHECK(*most == 1);
          if (by == CutBy::kVocab) CHECK(*most == (twice ? 2 : 1));
        }
      }
    }
  }
}

TEST_CASE("a rank of eight reads a slice of the layers, not the whole") {
  const auto checkpoint = OpenFixture("llama3_gqa");
  const auto plans = MakeRankPlans(checkpoint->spec(), {2, 2, 8}).value();
  uint64_t sum = 0;
  for (const RankPlan& plan : plans) sum += ShardBytes(*checkpoint, plan).value();
  // Norms are whole on both tensor ranks: 2 of 64 elements in each of 4 layers, and the last one.
  CHECK(sum == checkpoint->total_bytes() + 4 * 9 * 64);
}

TEST_CASE("a tied head is handed over as a head by the last stage, and once by a lone rank") {
  const auto checkpoint = OpenFixture("llama_mqa_tied");
  const auto ids = [&](const RankPlan& plan) {
    std::vector<TensorId> found;
    REQUIRE(LoadShard(*checkpoint, plan, [&](const HostTensor& tensor) {
              found.push_back(tensor.id);
              return absl::OkStatus();
            }).ok());
    return found;
  };
  const TensorId head{-1, TensorRole::kHead};
  const TensorId embedding{-1, TensorRole::kEmbedding};
  const auto count = [](const std::vector<TensorId>& all, TensorId id) {
    return std::count(all.begin(), all.end(), id);
  };
  const auto lone = ids(MakeRankPlans(checkpoint->spec(), {1, 1, 8}).value()[0]);
  CHECK(count(lone, embedding) == 1);
  CHECK(count(lone, head) == 0);
  const auto plans = MakeRankPlans(checkpoint->spec(), {1, 2, 8}).value();
  CHECK(count(ids(plans[0]), embedding) == 1);
  CHECK(count(ids(plans[0]), head) == 0);
  CHECK(count(ids(plans[1]), embedding) == 0);
  CHECK(count(ids(plans[1]), head) == 1);
}

TEST_CASE("an error of the consumer ends the load, and so does a cancellation") {
  const auto checkpoint = OpenFixture("llama_small");
  const RankPlan plan = MakeRankPlans(checkpoint->spec(), {1, 1, 8}).value()[0];
  int calls = 0;
  const auto failed = LoadShard(*checkpoint, plan, [&](const HostTensor&) {
    ++calls;
    return absl::ResourceExhaustedError("no room");
  });
  CHECK(failed.status().code() == absl::StatusCode::kResourceExhausted);
  CHECK(calls == 1);

  std::atomic<bool> cancel{false};
  const auto cancelled = LoadShard(
      *checkpoint, plan,
      [&](const HostTensor&) {
        cancel = true;
        return absl::OkStatus();
      },
      nullptr, &cancel);
  CHECK(cancelled.status().code() == absl::StatusCode::kCancelled);
}

TEST_CASE("a file that is cut short between opening and loading is data loss") {
  tests::TempDir folder;
  fs::copy(tests::Fixture("checkpoints/llama_small"), folder.path());
  const auto checkpoint = Checkpoint::Open(folder.path()).value();
  fs::resize_file(folder.path() / "model.safetensors", 20000);
  const RankPlan plan = MakeRankPlans(checkpoint->spec(), {1, 1, 8}).value()[0];
  const auto status =
      LoadShard(*checkpoint, plan, [](const HostTensor&) { return absl::OkStatus(); }).status();
  CHECK(status.code() == absl::StatusCode::kDataLoss);
}

TEST_CASE("ranks of every family read the bytes of their slices and no others") {
  for (const char* parent : {"checkpoints", "families"}) {
    for (const auto& entry : std::filesystem::directory_iterator(tests::Fixture(parent))) {
      const auto checkpoint = Checkpoint::Open(entry.path()).value();
      // Even and odd rows of one tensor are read together, for either.
      if (checkpoint->spec().family == "gpt_oss") continue;
      for (int tp : {1, 2, 3, 4}) {
        const auto plans = MakeRankPlans(checkpoint->spec(), {tp, 1, 8}).value();
        for (const RankPlan& plan : plans) {
          INFO(entry.path().string() << ", tp " << tp << ", rank " << plan.rank);
          uint64_t slices = 0;
          for (const TensorSlice& slice : RankSlices(checkpoint->spec(), plan)) {
            slices += slice.elements() * DTypeSize(checkpoint->Find(slice.source)->dtype);
          }
          const LoadStats stats = LoadShard(*checkpoint, plan, [](const HostTensor&) {
                                    return absl::OkStatus();
                                  }).value();
          CHECK(stats.bytes_read == slices);
          CHECK(stats.bytes_total == slices);
        }
      }
    }
  }
}

}  // namespace
}  // namespace tessera::shard_loader
