#include "shard_loader/io/unnamed_file.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <vector>

#include "tests/support/fixtures.h"

namespace tessera::shard_loader {
namespace {

std::vector<std::byte> Bytes(size_t count, int value) {
  return std::vector<std::byte>(count, static_cast<std::byte>(value));
}

TEST_CASE("a file without a name is written and read at any place") {
  tests::TempDir folder;
  auto file = UnnamedFile::Create(folder.path().string());
  REQUIRE(file.ok());
  CHECK(std::filesystem::is_empty(folder.path()));
  REQUIRE(file->Reserve(100).ok());
  std::vector<std::byte> found(10);
  REQUIRE(file->Read(90, absl::MakeSpan(found)).ok());
  CHECK(found == Bytes(10, 0));
  REQUIRE(file->Write(Bytes(10, 7), 40).ok());
  REQUIRE(file->Write(Bytes(5, 9), 45).ok());
  REQUIRE(file->Read(38, absl::MakeSpan(found)).ok());
  CHECK(found[1] == std::byte{0});
  CHECK(found[2] == std::byte{7});
  CHECK(found[6] == std::byte{7});
  CHECK(found[7] == std::byte{9});
  UnnamedFile moved = *std::move(file);
  CHECK(moved.Read(45, absl::MakeSpan(found).first(5)).ok());
  const absl::Status behind = moved.Read(95, absl::MakeSpan(found));
  CHECK(absl::IsDataLoss(behind));
  CHECK_THAT(std::string(behind.message()), Catch::Contains("ends at byte 100"));
}

TEST_CASE("a folder that takes no file, or has no room, is named") {
  for (const char* folder : {"/no/such", "/dev/null", "/proc/self"}) {
    const absl::Status status = UnnamedFile::Create(folder).status();
    CHECK(absl::IsFailedPrecondition(status));
    CHECK_THAT(std::string(status.message()), Catch::Contains(folder));
  }
  tests::TempDir folder;
  auto file = UnnamedFile::Create(folder.path().string());
  REQUIRE(file.ok());
  const absl::Status status = file->Reserve(int64_t{1} << 60);
  CHECK(absl::IsResourceExhausted(status));
  CHECK_THAT(std::string(status.message()), Catch::Contains(folder.path().string()));
}

}  // namespace
}  // namespace tessera::shard_loader
