#include "shard_loader/format/npz.h"

#include <catch2/catch.hpp>
#include <string>

#include "tests/unit/shard_loader_format/zip_builder.h"

namespace tessera::shard_loader {
namespace {

std::string Npy(const std::string& literal, size_t bytes) {
  std::string out = "\x93NUMPY";
  out += '\1';
  out += '\0';
  Put<uint16_t>(&out, static_cast<uint16_t>(literal.size()));
  return out + literal + std::string(bytes, 'd');
}

absl::Status ReadStatus(const std::string& literal, size_t bytes = 24) {
  return ReadNpz(MemorySource("m.npz", MakeZip({{"w.npy", Npy(literal, bytes)}}))).status();
}

TEST_CASE("a numpy archive gives its arrays in C and in Fortran order") {
  const std::string zip = MakeZip(
      {{"a.npy", Npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }  \n", 24)},
       {"b.npy", Npy("{'shape': (2L, 3L), 'fortran_order': True, 'descr': '|V2'}", 12)},
       {"c.npy", Npy("{'descr': '<f2', 'fortran_order': False, 'shape': (), }\n", 2)},
       {"notes.txt", "hello"}});
  const auto index = ReadNpz(MemorySource("m.npz", zip));
  INFO(index.status().ToString());
  REQUIRE(index.ok());
  REQUIRE(index->tensors().size() == 3);
  const IndexedTensor* a = index->Find("a");
  CHECK(a->type == StoredType::kF32);
  CHECK(a->shape == std::vector<int64_t>{2, 3});
  CHECK(a->strides == std::vector<int64_t>{3, 1});
  CHECK(a->data.offset == zip.find("dddd"));
  CHECK(a->data.bytes == 24);
  const IndexedTensor* b = index->Find("b");
  CHECK(b->type == StoredType::kBF16);
  CHECK(b->strides == std::vector<int64_t>{1, 2});
  CHECK(index->Find("c")->shape.empty());
}

TEST_CASE("headers that are not plain arrays of numbers are refused") {
  const std::string good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
  REQUIRE(ReadStatus(good).ok());
  CHECK(absl::IsDataLoss(ReadStatus(good, 23)));
  CHECK(absl::IsDataLoss(ReadStatus(good + "x")));
  for (const char* type : {"|O", ">f4", "<c8", "<U4"}) {
    std::string other = good;
    other.replace(other.find("<f4"), 3, type);
    CHECK(absl::IsUnimplemented(ReadStatus(other)));
  }
  for (const char* literal :
       {"", "{", "{}", "{'descr': '<f4'}", "{'descr' '<f4', 'fortran_order': False, 'shape': ()}",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (6,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-6,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (6 7)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4, 0)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (6,), 'x': __import__('os')}"}) {
    INFO(literal);
    CHECK(absl::IsDataLoss(ReadStatus(literal)));
  }
  CHECK(absl::IsDataLoss(ReadNpz(MemorySource("m.npz", MakeZip({{"w.txt", ""}}))).status()));
  CHECK(absl::IsDataLoss(ReadNpz(MemorySource("m.npz", MakeZip({{"w.npy", "x"}}))).status()));
}

}  // namespace
}  // namespace tessera::shard_loader
