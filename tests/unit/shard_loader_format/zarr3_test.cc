#include <catch2/catch.hpp>
#include <cstring>
#include <string>
#include <vector>

#include "shard_loader/format/crc32c.h"
#include "shard_loader/format/zarr.h"

namespace tessera::shard_loader {
namespace {

std::string Array(const std::string& replaced, const std::string& by) {
  std::string text =
      R"({"zarr_format": 3, "node_type": "array", "shape": [5, 6], "data_type": "bfloat16",)"
      R"( "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2, 4]}},)"
      R"( "chunk_key_encoding": {"name": "default"}, "fill_value": 0,)"
      R"( "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "zstd"}]})";
  const size_t at = text.find(replaced);
  REQUIRE(at != std::string::npos);
  return text.replace(at, replaced.size(), by);
}

// Shards of 4 x 4 with four chunks each.
std::string Shards(const std::string& place) {
  return Array(R"([{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "zstd"}])",
               R"([{"name": "sharding_indexed", "configuration": {"chunk_shape": [1, 2], "codecs":)"
               R"( [{"name": "bytes"}, {"name": "gzip"}, {"name": "crc32c"}], "index_codecs":)"
               R"( [{"name": "bytes"}, {"name": "crc32c"}], "index_location": ")" +
                   place + R"("}}])");
}

absl::Status StatusOf(const std::string& text) {
  return ParseZarr3Array(text, "zarr.json").status();
}

ZarrArray ArrayOf(const std::string& text) {
  const auto array = ParseZarr3Array(text, "zarr.json");
  INFO(array.status().ToString());
  REQUIRE(array.ok());
  REQUIRE(array->has_value());
  return **array;
}

std::string Index(const std::vector<uint64_t>& numbers) {
  std::string index(reinterpret_cast<const char*>(numbers.data()), numbers.size() * 8);
  const uint32_t checksum = Crc32c(index);
  return index.append(reinterpret_cast<const char*>(&checksum), sizeof(checksum));
}

TEST_CASE("an array of version 3 tells its type, shape, chunks, names and codec") {
  const ZarrArray array = ArrayOf(Array("\"fill_value\": 0,", ""));
  CHECK(array.type == StoredType::kBF16);
  CHECK(array.shape == std::vector<int64_t>{5, 6});
  CHECK(array.ChunkCounts() == std::vector<int64_t>{3, 2});
  CHECK(array.ChunkName({2, 1}) == "c/2/1");
  CHECK(array.ChunkName({}) == "c");
  CHECK(array.codec == Codec::kZstd);
  CHECK(array.inner_shape.empty());
  CHECK(array.checksum_bytes == 0);
  CHECK(ArrayOf(Array("\"default\"", "\"v2\"")).ChunkName({2, 1}) == "2.1");
  const std::string turned = R"([{"name": "transpose", "configuration": {"order": [1, 0]}}, )";
  CHECK(ArrayOf(Array("\"codecs\": [", "\"codecs\": " + turned)).column_major);
}

TEST_CASE("a group of version 3 is no array") {
  const auto group = ParseZarr3Array(Array("\"array\"", "\"group\""), "zarr.json");
  REQUIRE(group.ok());
  CHECK_FALSE(group->has_value());
}

TEST_CASE("a shard's index tells where its chunks lie") {
  const ZarrArray array = ArrayOf(Shards("start"));
  CHECK(array.chunk_shape == std::vector<int64_t>{2, 4});
  CHECK(array.inner_shape == std::vector<int64_t>{1, 2});
  CHECK(array.index_first);
  CHECK(array.codec == Codec::kZlib);
  CHECK(array.checksum_bytes == 4);
  CHECK_FALSE(ArrayOf(Shards("end")).index_first);
  CHECK(array.IndexBytes() == 4 * 16 + 4);
  const std::string index = Index({68, 10, 78, 22, UINT64_MAX, UINT64_MAX, 100, 1});
  const auto places = ReadShardIndex(array, index, 101, "shard");
  REQUIRE(places.ok());
  REQUIRE(places->size() == 4);
  CHECK((*places)[1].offset == 78);
  CHECK((*places)[1].bytes == 22);
  CHECK((*places)[2].bytes == 0);
  CHECK(absl::IsDataLoss(ReadShardIndex(array, index, 100, "shard").status()));
  std::string damaged = index;
  damaged[0] ^= 1;
  CHECK(absl::IsDataLoss(ReadShardIndex(array, damaged, 101, "shard").status()));
  CHECK(absl::IsDataLoss(ReadShardIndex(array, index.substr(1), 101, "shard").status()));
}

TEST_CASE("what is not read of version 3 is refused by name") {
  for (const auto& [part, other] :
       {std::pair("\"zarr_format\": 3", "\"zarr_format\": 4"), std::pair("bfloat16", "complex64"),
        std::pair("\"regular\"", "\"rectilinear\""), std::pair("\"default\"", "\"suffix\""),
        std::pair("\"little\"", "\"big\""), std::pair("\"zstd\"", "\"vlen-utf8\""),
        std::pair("\"fill_value\": 0", "\"storage_transformers\": [{}]"),
        std::pair("\"zstd\"}", "\"zstd\"}, {\"name\": \"gzip\"}")}) {
    INFO(other);
    const absl::Status status = StatusOf(Array(part, other));
    CHECK(absl::IsUnimplemented(status));
    CHECK(status.message().find("zarr.json: ") != std::string_view::npos);
  }
}

TEST_CASE("an array of version 3 that cannot be is corrupt") {
  for (const auto& [part, other] :
       {std::pair("[5, 6]", "[5]"), std::pair("[5, 6]", "[5, -6]"), std::pair("[2, 4]", "[0, 4]"),
        std::pair("\"node_type\": \"array\"", "\"node_type\": 1"),
        std::pair("\"codecs\": [", "\"codecs\": [], \"others\": ["),
        std::pair("[5, 6]", "[5000000, 6000000]")}) {
    INFO(other);
    CHECK(absl::IsDataLoss(StatusOf(Array(part, other))));
  }
  std::string uneven = Shards("end");
  uneven.replace(uneven.find("[1, 2]"), 6, "[1, 3]");
  CHECK(absl::IsDataLoss(StatusOf(uneven)));
  CHECK(absl::IsDataLoss(StatusOf(Shards("middle"))));
  CHECK(absl::IsDataLoss(StatusOf("")));
}

}  // namespace
}  // namespace tessera::shard_loader
