#include "shard_loader/io/file.h"

#include <sys/stat.h>

#include <array>
#include <fstream>

#include <catch2/catch.hpp>

#include "tests/support/fixtures.h"

namespace tessera::shard_loader {
namespace {

TEST_CASE("reads give exactly the bytes asked for and count them") {
  tests::TempDir folder;
  std::ofstream(folder.path() / "f") << "0123456789";
  File file = File::Open(folder.path() / "f").value();
  CHECK(file.size() == 10);
  CHECK(file.name() == "f");
  std::array<std::byte, 3> bytes{};
  REQUIRE(file.ReadAt(4, absl::MakeSpan(bytes)).ok());
  CHECK(bytes == std::array{std::byte{'4'}, std::byte{'5'}, std::byte{'6'}});
  CHECK(file.bytes_read() == 3);
  File moved = std::move(file);
  REQUIRE(moved.ReadAt(0, absl::MakeSpan(bytes)).ok());
  CHECK(moved.bytes_read() == 6);
}

TEST_CASE("a read past the end is data loss") {
  tests::TempDir folder;
  std::ofstream(folder.path() / "f") << "0123";
  File file = File::Open(folder.path() / "f").value();
  std::array<std::byte, 3> bytes{};
  const absl::Status status = file.ReadAt(2, absl::MakeSpan(bytes));
  CHECK(status.code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(status.message()), Catch::Contains("f: ends at byte 4"));
}

TEST_CASE("folders, pipes and files that are not there do not open") {
  tests::TempDir folder;
  CHECK(File::Open(folder.path()).status().code() == absl::StatusCode::kFailedPrecondition);
  CHECK(File::Open(folder.path() / "none").status().code() == absl::StatusCode::kNotFound);
  const auto pipe = folder.path() / "pipe";
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(File::Open(pipe).status().code() == absl::StatusCode::kFailedPrecondition);
}

TEST_CASE("a small file that is too large is refused unread") {
  tests::TempDir folder;
  std::ofstream(folder.path() / "f") << "0123";
  CHECK(ReadSmallFile(folder.path() / "f", 4).value() == "0123");
  CHECK(ReadSmallFile(folder.path() / "f", 3).status().code() == absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace tessera::shard_loader
