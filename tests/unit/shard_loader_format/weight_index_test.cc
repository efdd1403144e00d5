#include "shard_loader/format/weight_index.h"

#include <catch2/catch.hpp>

namespace tessera::shard_loader {
namespace {

TEST_CASE("an index names each file once, in order") {
  const auto index = ParseWeightIndex(
      R"({"metadata": {"total_size": 1}, "weight_map": {"x": "m-2.safetensors",
          "y": "m-1.safetensors", "z": "m-2.safetensors"}})",
      "index.json");
  REQUIRE(index.ok());
  CHECK(index->files == std::vector<std::string>{"m-1.safetensors", "m-2.safetensors"});
  CHECK(index->file_of.at("z") == "m-2.safetensors");
}

TEST_CASE("names that leave the folder, or that are no weight files, are refused") {
  for (const char* name :
       {"../m.safetensors", "/etc/m.safetensors", "a/m.safetensors", "..", ".safetensors", "",
        "config.json", "..\\\\m.safetensors", "m\\u0000.safetensors", ".hidden.safetensors"}) {
    const auto index =
        ParseWeightIndex(R"({"weight_map": {"t": ")" + std::string(name) + R"("}})", "index.json");
    INFO(name);
    CHECK(index.status().code() == absl::StatusCode::kFailedPrecondition);
    CHECK_THAT(std::string(index.status().message()), Catch::Contains("tensor 't'"));
  }
}

TEST_CASE("an index without a map, or with two entries for one tensor, is corrupt") {
  for (const char* text :
       {"{}", R"({"weight_map": []})", R"({"weight_map": {}})", R"({"weight_map": {"a": 1}})",
        R"({"weight_map": {"a": "m.safetensors", "a": "n.safetensors"}})", "nonsense"}) {
    CHECK(ParseWeightIndex(text, "index.json").status().code() == absl::StatusCode::kDataLoss);
  }
}

}  // namespace
}  // namespace tessera::shard_loader
