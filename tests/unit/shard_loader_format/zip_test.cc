#include "shard_loader/format/zip.h"

#include <catch2/catch.hpp>
#include <cstring>

#include "tests/unit/shard_loader_format/zip_builder.h"

namespace tessera::shard_loader {
namespace {

absl::StatusOr<std::vector<ZipRecord>> Read(const std::string& bytes) {
  return ReadZipDirectory(MemorySource("test.zip", bytes));
}

TEST_CASE("the directory gives names, sizes and where the data lies") {
  const std::string zip = MakeZip({{"a/x", "hello"}, {"a/y", ""}, {"z", "world!"}});
  const auto records = Read(zip);
  REQUIRE(records.ok());
  REQUIRE(records->size() == 3);
  CHECK((*records)[0].name == "a/x");
  CHECK(zip.substr((*records)[0].offset, (*records)[0].stored_bytes) == "hello");
  CHECK((*records)[1].bytes == 0);
  CHECK(zip.substr((*records)[2].offset, (*records)[2].stored_bytes) == "world!");
  CHECK_FALSE((*records)[2].deflated);
  CHECK(LooksLikeZip(zip));
}

TEST_CASE("a comment behind the archive is skipped") {
  std::string zip = MakeZip({{"a", "hello"}});
  zip[zip.size() - 2] = 3;
  CHECK(Read(zip + "abc").ok());
  CHECK(absl::IsDataLoss(Read(zip + "ab").status()));
}

TEST_CASE("an archive with 64-bit sizes is read") {
  const std::string zip = MakeZip64("big/data.pkl", "hello");
  const auto records = Read(zip);
  INFO(records.status().ToString());
  REQUIRE(records.ok());
  REQUIRE(records->size() == 1);
  CHECK(zip.substr((*records)[0].offset, (*records)[0].bytes) == "hello");
}

TEST_CASE("every way to cut an archive is an error") {
  const std::string zip = MakeZip({{"a", "hello"}, {"b", "world"}});
  for (size_t size = 0; size < zip.size(); ++size) {
    CHECK(absl::IsDataLoss(Read(zip.substr(0, size)).status()));
  }
}

TEST_CASE("records that lie are refused") {
  const std::string good = MakeZip({{"a", "hello"}, {"b", "world"}});
  const size_t directory = good.find("PK\x01\x02");
  const auto changed = [&](size_t at, uint32_t value, size_t bytes) {
    std::string zip = good;
    std::memcpy(zip.data() + at, &value, bytes);
    return Read(zip).status();
  };
  CHECK(absl::IsUnimplemented(changed(directory + 8, 1, 2)));     // encrypted
  CHECK(absl::IsUnimplemented(changed(directory + 10, 12, 2)));   // bzip2
  CHECK(absl::IsDataLoss(changed(directory + 10, 8, 2)));         // the local header says stored
  CHECK(absl::IsDataLoss(changed(directory + 20, 1000, 4)));      // past the end
  CHECK(absl::IsDataLoss(changed(directory + 24, 6, 4)));         // stored, but another size
  CHECK(absl::IsDataLoss(changed(directory + 42, 7, 4)));         // no local header there
  CHECK(absl::IsDataLoss(changed(directory + 28, 2, 2)));         // a longer name
  CHECK(absl::IsDataLoss(changed(good.size() - 12, 3, 2)));       // three records
  CHECK(absl::IsUnimplemented(changed(good.size() - 18, 1, 2)));  // a second disk
  CHECK(absl::IsDataLoss(Read(MakeZip({{"a", "1"}, {"a", "2"}})).status()));
}

TEST_CASE("two records over the same bytes are refused") {
  std::string zip = MakeZip({{"a", "hello"}, {"a", "world"}});
  // The second entry of the directory gets the first one's data, under another name of its length.
  const size_t first = zip.find("PK\x01\x02");
  const size_t second = zip.find("PK\x01\x02", first + 1);
  std::memcpy(zip.data() + second, zip.data() + first, 46);
  zip[second + 46] = 'b';
  CHECK(absl::IsDataLoss(Read(zip).status()));
}

}  // namespace
}  // namespace tessera::shard_loader
