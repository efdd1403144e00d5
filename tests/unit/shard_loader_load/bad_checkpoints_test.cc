// Every entry of tests/fixtures/bad/manifest.json of the kinds that this loader opens.
#include <sys/resource.h>

#include <filesystem>
#include <map>

#include <catch2/catch.hpp>

#include "shard_loader/format/safetensors.h"
#include "shard_loader/io/file.h"
#include "shard_loader/load/checkpoint.h"
#include "shard_loader/status_macros.h"
#include "tests/support/fixtures.h"

namespace tessera::shard_loader {
namespace {

namespace fs = std::filesystem;

struct Refusal {
  absl::StatusCode code;
  std::vector<std::string> words;  // that the message must have: file, field or tensor, reason
};

using Table = std::map<std::string, Refusal>;

constexpr auto kDataLoss = absl::StatusCode::kDataLoss;
constexpr auto kDisagree = absl::StatusCode::kFailedPrecondition;
constexpr auto kUnsupported = absl::StatusCode::kUnimplemented;

const Table& Directories() {
  static const auto& table = *new Table{
      {"model_truncated", {kDataLoss, {"model.safetensors", "tensor 'model.", "cut off"}}},
      {"model_wrong_shape", {kDisagree, {"model.safetensors", "o_proj.weight", "shape ["}}},
      {"config_zero_heads", {kDisagree, {"config.json", "num_attention_heads is 0"}}},
      {"config_negative_layers", {kDisagree, {"config.json", "num_hidden_layers is -1"}}},
      {"config_huge_vocab", {kDisagree, {"config.json", "vocab_size is 4611686018427387904"}}},
      {"config_negative_eps", {kDisagree, {"config.json", "rms_norm_eps is \"", "a number"}}},
      {"config_unknown_rope", {kUnsupported, {"config.json", "rope_scaling.rope_type", "mystery"}}},
      {"config_unknown_act", {kUnsupported, {"config.json", "hidden_act is 'rm -rf /'", "silu"}}},
      {"config_remote_code", {kUnsupported, {"config.json", "auto_map", "modeling_evil"}}},
      {"config_head_dim_negative", {kDisagree, {"config.json", "head_dim is -4"}}},
      {"config_array", {kDataLoss, {"config.json", "array at the top"}}},
      {"config_deep", {kDataLoss, {"config.json", "nested deeper than 32"}}},
      {"config_long_number", {kDataLoss, {"config.json", "number overflow"}}},
      {"index_traversal",
       {kDisagree, {"model.safetensors.index.json", "lm_head.weight", "etc/passwd"}}},
      {"index_wrong_shard", {kDisagree, {"model.safetensors.index.json", "lm_head.weight"}}},
  };
  return table;
}

const Table& WeightFiles() {
  static const auto& table = *new Table{
      {"st_empty", {kDataLoss, {"0 bytes, too few"}}},
      {"st_header_past_end", {kDataLoss, {"header of 100000 bytes"}}},
      {"st_header_2_63", {kDataLoss, {"header of 9223372036854775808 bytes"}}},
      {"st_not_json", {kDataLoss, {"no valid JSON"}}},
      {"st_json_array", {kDataLoss, {"header is an array"}}},
      {"st_overlap", {kDataLoss, {"tensor 'b'", "inside the one before it"}}},
      {"st_unused_tail", {kDataLoss, {"ends at byte 16", "belong to none"}}},
      {"st_begin_after_end", {kDataLoss, {"tensor 'a'", "begins at byte 16 and ends before it"}}},
      {"st_offset_2_64", {kDataLoss, {"tensor 'a'", "data_offsets", "64 bits"}}},
      {"st_negative_shape", {kDataLoss, {"tensor 'a'", "shape is a negative number"}}},
      {"st_shape_overflow_bytes", {kDataLoss, {"tensor 'a'", "more than a file can have"}}},
      {"st_dtype_nan", {kDataLoss, {"tensor 'a'", "dtype 'NaN'"}}},
      {"st_dtype_null", {kDataLoss, {"tensor 'a'", "dtype is null"}}},
      {"st_shape_string", {kDataLoss, {"tensor 'a'", "shape is a string"}}},
      {"st_three_offsets", {kDataLoss, {"tensor 'a'", "longer than two numbers"}}},
      {"st_bad_utf8", {kDataLoss, {"UTF-8"}}},
      {"st_many_dims", {kDataLoss, {"tensor 'a'", "longer than 8 dimensions"}}},
  };
  return table;
}

// The weight file alone, as the reader of the format sees it.
absl::Status ReadWeightFile(const fs::path& path) {
  ASSIGN_OR_RETURN(const std::string bytes, ReadSmallFile(path, 1 << 20));
  const std::string name = path.filename().string();
  ASSIGN_OR_RETURN(const uint64_t length,
                   SafetensorsHeaderLength(bytes.substr(0, 8), bytes.size(), name));
  return ParseSafetensorsHeader(bytes.substr(8, length), bytes.size(), name).status();
}

int64_t PeakBytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<int64_t>(usage.ru_maxrss) * 1024;
}

void CheckRefused(const absl::Status& status, const Refusal& expected) {
  INFO(status.ToString());
  CHECK(status.code() == expected.code);
  const std::string message(status.message());
  for (const std::string& word : expected.words) CHECK_THAT(message, Catch::Contains(word));
  CHECK(message.rfind("shard_loader: ", 0) == 0);
  CHECK(message.size() < 1200);  // the longest lists every architecture
}

// Runs `read` on every entry of `kind`, each of which must stand in `table`.
template <typename Read>
void CheckKind(const std::string& kind, const Table& table, Read read) {
  const int64_t before = PeakBytes();
  const nlohmann::json manifest = tests::ReadJson(tests::Fixture("bad/manifest.json"));
  size_t seen = 0;
  for (const auto& entry : manifest["entries"]) {
    if (entry["kind"] != kind) continue;
    const auto name = entry["name"].get<std::string>();
    INFO(name << ": " << entry["what"].get<std::string>());
    REQUIRE(table.contains(name));
    CheckRefused(read(tests::Fixture("bad/" + name)), table.at(name));
    ++seen;
  }
  CHECK(seen == table.size());
  CHECK(PeakBytes() - before < int64_t{64} << 20);
}

TEST_CASE("every malformed safetensors file is refused with its reason") {
  CheckKind("safetensors", WeightFiles(),
            [](const fs::path& folder) { return ReadWeightFile(folder / "model.safetensors"); });
}

TEST_CASE("every malformed checkpoint folder is refused with file, field and reason") {
  CheckKind("directory", Directories(),
            [](const fs::path& folder) { return Checkpoint::Open(folder).status(); });
  for (const auto& entry : fs::directory_iterator("/tmp")) {
    CHECK(entry.path().filename().string().rfind("PWNED_", 0) != 0);
  }
}

TEST_CASE("a malformed weight file behind a good configuration is refused as a whole checkpoint") {
  for (const auto& [name, expected] : WeightFiles()) {
    tests::TempDir folder;
    fs::copy_file(tests::Fixture("checkpoints/llama_small/config.json"),
                  folder.path() / "config.json");
    fs::copy_file(tests::Fixture("bad/" + name + "/model.safetensors"),
                  folder.path() / "model.safetensors");
    Refusal with_file = expected;
    with_file.words.push_back("model.safetensors");
    CheckRefused(Checkpoint::Open(folder.path()).status(), with_file);
  }
}

}  // namespace
}  // namespace tessera::shard_loader
