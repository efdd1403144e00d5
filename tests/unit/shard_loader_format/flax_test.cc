#include "shard_loader/format/flax.h"

#include <catch2/catch.hpp>
#include <string>

namespace tessera::shard_loader {
namespace {

using namespace std::string_literals;

absl::StatusOr<TensorIndex> Read(const std::string& bytes) {
  return ReadFlax(MemorySource("x.msgpack", bytes));
}

// Extension 1 of [[2, 3], "float32", 24 bytes].
std::string Array(const std::string& shape = "\x92\x02\x03") {
  const std::string body = "\x93" + shape +
                           "\xa7"
                           "float32\xc4\x18" +
                           std::string(24, 'd');
  return "\xc7" + std::string(1, static_cast<char>(body.size())) + "\x01" + body;
}

TEST_CASE("arrays in nested maps are named by their path") {
  const std::string bytes =
      "\x82\xa1"
      "a\x81\xa6kernel" +
      Array() + "\xa4step\x07"s;
  const auto index = Read(bytes);
  INFO(index.status().ToString());
  REQUIRE(index.ok());
  REQUIRE(index->tensors().size() == 1);
  const IndexedTensor& tensor = index->tensors()[0];
  CHECK(tensor.name == "a.kernel");
  CHECK(tensor.type == StoredType::kF32);
  CHECK(tensor.shape == std::vector<int64_t>{2, 3});
  CHECK(tensor.data.offset == bytes.find("dddd"));
  CHECK(tensor.data.bytes == 24);
  for (size_t size = 0; size < bytes.size(); ++size) {
    CHECK(absl::IsDataLoss(Read(bytes.substr(0, size)).status()));
  }
  CHECK(absl::IsDataLoss(Read(bytes + "x").status()));
}

TEST_CASE("values of every msgpack kind beside arrays are skipped") {
  const std::string values[] = {
      "\xc0"s,
      "\xc2"s,
      "\xc3"s,
      "\xff"s,
      "\xcc\x01"s,
      "\xcd\x01\x02"s,
      "\xce\x01\x02\x03\x04"s,
      "\xcf\x01\x02\x03\x04\x05\x06\x07\x08"s,
      "\xd0\x01"s,
      "\xd1\x01\x02"s,
      "\xd2\x01\x02\x03\x04"s,
      "\xd3\x01\x02\x03\x04\x05\x06\x07\x08"s,
      "\xca\x01\x02\x03\x04"s,
      "\xcb\x01\x02\x03\x04\x05\x06\x07\x08"s,
      "\xa2hi"s,
      "\xd9\x02hi"s,
      "\xda\x00\x02hi"s,
      "\xdb\x00\x00\x00\x02hi"s,
      "\xc4\x02hi"s,
      "\xc5\x00\x02hi"s,
      "\xc6\x00\x00\x00\x02hi"s,
      "\xd4\x05x"s,
      "\xd5\x05xx"s,
      "\xc7\x02\x05xx"s,
      "\x92\x01\x02"s,
      "\xdc\x00\x01\x01"s,
      "\xdd\x00\x00\x00\x01\x01"s,
      "\x80"s,
      "\xde\x00\x00"s,
      "\xdf\x00\x00\x00\x00"s,
  };
  for (const std::string& value : values) {
    const auto index = Read("\x82\xa1s" + value + "\xa1w" + Array());
    INFO(index.status().ToString());
    REQUIRE(index.ok());
    CHECK(index->Find("w") != nullptr);
  }
}

TEST_CASE("arrays that do not add up, chunks and unknown dtypes are refused") {
  CHECK(absl::IsDataLoss(Read("\x81\xa1w" + Array("\x92\x02\x04")).status()));
  CHECK(absl::IsDataLoss(Read("\x81\xa1w" + Array("\x92\xff\x03")).status()));
  CHECK(absl::IsDataLoss(Read("\x82\xa1w" + Array() + "\xa1w" + Array()).status()));
  CHECK(absl::IsDataLoss(Read("\x81\x01" + Array()).status()));
  CHECK(absl::IsDataLoss(Read(Array()).status()));
  CHECK(absl::IsDataLoss(Read("\x81\xa1w\xc1").status()));
  std::string other = Array();
  other.replace(other.find("float32"), 7, "float33");
  CHECK(absl::IsUnimplemented(Read("\x81\xa1w" + other).status()));
  CHECK(absl::IsUnimplemented(Read("\x81\xa1w\x81\xb9__msgpack_chunked_array__\xc3").status()));
}

}  // namespace
}  // namespace tessera::shard_loader
