#include "shard_loader/format/zarr.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

namespace tessera::shard_loader {
namespace {

std::string Array(const std::string& replaced, const std::string& by) {
  std::string text =
      R"({"zarr_format": 2, "shape": [5, 6], "chunks": [2, 4], "dtype": "<f4", "order": "C",)"
      R"( "compressor": {"id": "gzip", "level": 1}, "filters": null, "fill_value": null})";
  const size_t at = text.find(replaced);
  REQUIRE(at != std::string::npos);
  return text.replace(at, replaced.size(), by);
}

absl::Status StatusOf(const std::string& text) { return ParseZarrArray(text, ".zarray").status(); }

TEST_CASE("an array tells its type, shape, chunks and codec") {
  const ZarrArray array = ParseZarrArray(Array("\"<f4\"", "\"bfloat16\""), ".zarray").value();
  CHECK(array.type == StoredType::kBF16);
  CHECK(array.shape == std::vector<int64_t>{5, 6});
  CHECK(array.ChunkCounts() == std::vector<int64_t>{3, 2});
  CHECK(array.ChunkName({2, 1}) == "2.1");
  CHECK(array.codec == Codec::kZlib);
  CHECK_FALSE(array.column_major);
}

TEST_CASE("separator, order and compressor are as the text says") {
  const std::string slashed = Array("\"filters\": null", "\"dimension_separator\": \"/\"");
  CHECK(ParseZarrArray(slashed, ".zarray")->ChunkName({2, 1}) == "2/1");
  CHECK(ParseZarrArray(Array("\"C\"", "\"F\""), ".zarray")->column_major);
  CHECK(ParseZarrArray(Array("\"gzip\"", "\"zstd\""), ".zarray")->codec == Codec::kZstd);
  CHECK(ParseZarrArray(Array("\"gzip\"", "\"blosc\""), ".zarray")->codec == Codec::kBlosc);
  CHECK(ParseZarrArray(Array("{\"id\": \"gzip\", \"level\": 1}", "null"), ".zarray")->codec ==
        Codec::kNone);
}

TEST_CASE("what is not read is refused by name") {
  CHECK(absl::IsUnimplemented(StatusOf(Array("\"zarr_format\": 2", "\"zarr_format\": 3"))));
  CHECK(absl::IsUnimplemented(StatusOf(Array("<f4", ">f4"))));
  CHECK(absl::IsUnimplemented(StatusOf(Array("\"gzip\"", "\"lzma\""))));
  CHECK(absl::IsUnimplemented(StatusOf(Array("\"filters\": null", "\"filters\": [{}]"))));
}

TEST_CASE("an array that cannot be is corrupt") {
  for (const char* sizes : {"[5]", "[5, -6]", "[5, 6.5]", "[4611686018427387904, 6]", "5",
                            "[1,1,1,1,1,1,1,1,1]", "[70368744177664, 70368744177664]"}) {
    INFO(sizes);
    CHECK(absl::IsDataLoss(StatusOf(Array("[5, 6]", sizes))));
  }
  CHECK(absl::IsDataLoss(StatusOf(Array("[2, 4]", "[0, 4]"))));
  // As many chunks as no folder holds.
  CHECK(absl::IsDataLoss(
      StatusOf(Array("[5, 6], \"chunks\": [2, 4]", "[5000, 6000], \"chunks\": [1, 1]"))));
  CHECK(absl::IsDataLoss(StatusOf("[]")));
  CHECK(absl::IsDataLoss(StatusOf("")));
}

}  // namespace
}  // namespace tessera::shard_loader
