#include "shard_loader/io/direct_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <utility>

#include <catch2/catch.hpp>

#include "tests/support/fixtures.h"

namespace tessera::shard_loader {
namespace {

namespace fs = std::filesystem;

// A file whose end is not at a sector's, with nothing of it in the page cache.
std::string WriteUncached(const fs::path& path, size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 7 + i / 251);
  std::ofstream(path, std::ios::binary) << bytes;
  const int descriptor = open(path.c_str(), O_RDONLY);
  REQUIRE(descriptor >= 0);
  REQUIRE(fsync(descriptor) == 0);
  REQUIRE(posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED) == 0);
  close(descriptor);
  return bytes;
}

// Whether the file system of `path` can be read past the page cache.
bool HasDirectReads(const fs::path& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_DIRECT);
  if (descriptor < 0) return false;
  close(descriptor);
  struct statfs info {};
  return statfs(path.c_str(), &info) == 0 && info.f_type != 0x01021994;  // tmpfs
}

std::string Text(absl::Span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST_CASE("reads past the page cache give the bytes asked for, wherever they begin and end") {
  tests::TempDir folder;
  const fs::path path = folder.path() / "f";
  const std::string bytes = WriteUncached(path, 100001);
  if (!HasDirectReads(path)) {
    WARN("skipped: the folder for tests has no reads with O_DIRECT");
    return;
  }
  const DirectFile file = DirectFile::Open(path).value();
  CHECK(file.size() == bytes.size());
  DirectBuffer buffer;
  const std::pair<uint64_t, uint64_t> ranges[] = {{0, 1},        {0, 4096},   {4096, 4096},
                                                  {4095, 2},     {1, 8192},   {12345, 67890},
                                                  {98304, 1697}, {100000, 1}, {0, 100001}};
  for (const auto& [offset, size] : ranges) {
    INFO(offset << ", " << size);
    const auto got = file.Read(offset, size, buffer);
    REQUIRE(got.size() == size);
    CHECK(Text(got) == bytes.substr(offset, size));
  }
  CHECK_FALSE(file.Cached(0, bytes.size()));  // they left nothing there
}

TEST_CASE("a read past the page cache that the file is too short for gives nothing") {
  tests::TempDir folder;
  const fs::path path = folder.path() / "f";
  WriteUncached(path, 10000);
  const DirectFile file = DirectFile::Open(path).value();
  DirectBuffer buffer;
  CHECK(file.Read(9000, 1001, buffer).empty());
  CHECK(file.Read(20000, 1, buffer).empty());
  fs::resize_file(path, 8192);
  CHECK(file.Read(8000, 1000, buffer).empty());
  CHECK(file.Read(8192, 1, buffer).empty());
}

TEST_CASE("what the page cache has is seen without reading it") {
  tests::TempDir folder;
  const fs::path path = folder.path() / "f";
  WriteUncached(path, 1 << 20);
  if (!HasDirectReads(path)) {
    WARN("skipped: what tmpfs has is always in the page cache");
    return;
  }
  const DirectFile file = DirectFile::Open(path).value();
  CHECK_FALSE(file.Cached(5, 1000));
  CHECK_FALSE(file.Cached(0, 1 << 20));
  tests::ReadFile(path);
  CHECK(file.Cached(0, 1 << 20));
  CHECK(file.Cached(500000, 100000));
}

TEST_CASE("where a file system has no reads past the page cache there are no bytes") {
  const fs::path path = "/dev/shm/tessera_direct_file_test_" + std::to_string(getpid());
  const std::string bytes = WriteUncached(path, 10000);
  const auto file = DirectFile::Open(path);
  REQUIRE(file.has_value());
  CHECK(file->Cached(0, 10000));  // memory is all that it has
  DirectBuffer buffer;
  // Newer kernels take the flag there and read as ever.
  const auto got = file->Read(100, 5000, buffer);
  if (!got.empty()) CHECK(Text(got) == bytes.substr(100, 5000));
  file->Prefetch(0, 10000);
  fs::remove(path);
}

TEST_CASE("only regular files open past the page cache") {
  tests::TempDir folder;
  CHECK_FALSE(DirectFile::Open(folder.path()).has_value());
  CHECK_FALSE(DirectFile::Open(folder.path() / "none").has_value());
  const fs::path pipe = folder.path() / "pipe";
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  CHECK_FALSE(DirectFile::Open(pipe).has_value());
}

}  // namespace
}  // namespace tessera::shard_loader
