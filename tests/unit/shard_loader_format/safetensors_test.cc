#include "shard_loader/format/safetensors.h"

#include <catch2/catch.hpp>

namespace tessera::shard_loader {
namespace {

using Catch::Matchers::Contains;
using namespace std::string_literals;

// Parses `header` as that of a file with `data` bytes behind it.
absl::StatusOr<std::vector<SafetensorsTensor>> Parse(const std::string& header, uint64_t data) {
  return ParseSafetensorsHeader(header, 8 + header.size() + data, "f");
}

TEST_CASE("tensors come out ascending by offset, at their places in the file") {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[16,28]},)"
      R"("a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}  )";
  const auto tensors = Parse(header, 28);
  REQUIRE(tensors.ok());
  REQUIRE(tensors->size() == 2);
  CHECK((*tensors)[0].name == "a");
  CHECK((*tensors)[0].begin == 8 + header.size());
  CHECK((*tensors)[1].name == "b");
  CHECK((*tensors)[1].dtype == "BF16");
  CHECK((*tensors)[1].shape == std::vector<int64_t>{2, 3});
  CHECK((*tensors)[1].begin == 8 + header.size() + 16);
  CHECK((*tensors)[1].end == 8 + header.size() + 28);
}

TEST_CASE("a file without tensors, scalars and empty tensors are allowed") {
  CHECK(Parse("{}", 0)->empty());
  CHECK(Parse(R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})", 4).ok());
  CHECK(Parse(R"({"a":{"dtype":"F32","shape":[0,5],"data_offsets":[0,0]},)"
              R"("b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
              1)
            .ok());
}

TEST_CASE("every dtype of the format has its size") {
  for (const auto& [dtype, bytes] : std::vector<std::pair<std::string, int>>{{"BOOL", 8},
                                                                             {"F4", 4},
                                                                             {"F6_E2M3", 6},
                                                                             {"U8", 8},
                                                                             {"F8_E4M3", 8},
                                                                             {"I16", 16},
                                                                             {"F16", 16},
                                                                             {"BF16", 16},
                                                                             {"U32", 32},
                                                                             {"F32", 32},
                                                                             {"C64", 64},
                                                                             {"I64", 64}}) {
    const std::string header = R"({"a":{"dtype":")" + dtype +
                               R"(","shape":[8],"data_offsets":[0,)" + std::to_string(bytes) +
                               "]}}";
    CHECK(Parse(header, static_cast<uint64_t>(bytes)).ok());
    CHECK_FALSE(Parse(header, static_cast<uint64_t>(bytes) + 1).ok());
  }
  CHECK(WeightDType("BF16") == DType::kBF16);
  CHECK_FALSE(WeightDType("I64"));
}

TEST_CASE("what the format does not allow is refused with tensor and reason") {
  const std::string a = R"("a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]})";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"{" + a + "," + a + "}", "tensor 'a' stands in the header twice"},
      {"{" + a + R"(,"c":{"dtype":"F32","shape":[0],"data_offsets":[20,20]}})",
       "tensor 'c' begins at byte 20"},
      {R"({"a":{"dtype":"F32","shape":[4]}})", "lacks one of"},
      {R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0]}})", "lacks one of"},
      {R"({"a":{"dtype":"F32","dtype":"F32","shape":[4],"data_offsets":[0,16]}})",
       "dtype is there"},
      {R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16],"x":1}})",
       "no field of the format"},
      {R"({"a":{"dtype":"F32","shape":[[4]],"data_offsets":[0,16]}})", "shape is an array"},
      {R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,16]}})", "ask for 12"},
      {R"({"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}})", "tensor 'a' has 2 bytes"},
      {R"({"a":"x"})", "tensor 'a' is a string, expected an object"},
      {R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,1e1]}})", "data_offsets is"},
      {R"({"__metadata__":{"a":{}}})", "__metadata__ holds an object"},
      {R"({"__metadata__":{"a":1}})", "__metadata__ holds a number"},
      {"{" + a + "} x", "no valid JSON"},
      {"", "no valid JSON"},
  };
  for (const auto& [header, words] : cases) {
    const absl::Status status = Parse(header, 16).status();
    INFO(header);
    CHECK(status.code() == absl::StatusCode::kDataLoss);
    CHECK_THAT(std::string(status.message()), Contains("shard_loader: f: ") && Contains(words));
  }
}

TEST_CASE("the header's length is held to the file and to the format's limit") {
  CHECK(SafetensorsHeaderLength("\x02\0\0\0\0\0\0\0"s, 10, "f").value() == 2);
  CHECK_FALSE(SafetensorsHeaderLength("\x03\0\0\0\0\0\0\0"s, 10, "f").ok());
  CHECK_FALSE(SafetensorsHeaderLength("\xff\xff\xff\xff\xff\xff\xff\xff"s, 10, "f").ok());
  CHECK_FALSE(SafetensorsHeaderLength("\0\0\0\x10\0\0\0\0"s, uint64_t{1} << 40, "f").ok());
  CHECK_FALSE(SafetensorsHeaderLength("\x02\0\0"s, 3, "f").ok());
}

}  // namespace
}  // namespace tessera::shard_loader
