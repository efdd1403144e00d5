#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "tests/support/fixtures.h"
#include "worker/model/cached_images.h"
#include "worker/model/file_images.h"
#include "worker/model/load_weights.h"
#include "worker/model/memfd_images.h"

namespace tessera::worker {
namespace {

namespace fs = std::filesystem;

const ImageKey kKey = {"weights of a test", 8192};

void MakeAndKeep(WeightImages& images, const ImageKey& key, char content) {
  auto image = images.Make(key);
  INFO(image.status().ToString());
  REQUIRE(image.ok());
  REQUIRE(image->size() == key.bytes);
  CHECK(image->data()[key.bytes - 1] == std::byte{0});
  std::memset(image->data(), content, static_cast<size_t>(key.bytes));
  auto kept = images.Keep(key, *std::move(image));
  REQUIRE(kept.ok());
  CHECK(kept->data()[0] == static_cast<std::byte>(content));
}

std::vector<std::string> NamesIn(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  return names;
}

TEST_CASE("a kept image is found by the next start, and no other key's") {
  tests::TempDir dir;
  const fs::path folder = dir.path() / "cache" / "tessera";
  {
    FileImages images(folder);
    CHECK(images.Find(kKey)->size() == 0);
    MakeAndKeep(images, kKey, 'x');
  }
  FileImages images(folder);
  auto found = images.Find(kKey);
  REQUIRE(found.ok());
  REQUIRE(found->size() == kKey.bytes);
  CHECK(found->data()[kKey.bytes - 1] == std::byte{'x'});
  CHECK(images.Find({"weights of another", kKey.bytes})->size() == 0);
  CHECK(images.Find({kKey.id, 4096})->size() == 0);
  CHECK(NamesIn(folder).size() == 1);
  struct stat info {};
  REQUIRE(stat(folder.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0700);
}

TEST_CASE("an image that its process did not finish is neither found nor left behind") {
  tests::TempDir dir;
  const pid_t child = fork();
  if (child == 0) {
    FileImages images(dir.path());
    auto image = images.Make(kKey);
    std::memset(image->data(), 'x', 100);
    _exit(0);  // as if it were killed
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(NamesIn(dir.path()).size() == 1);
  FileImages images(dir.path());
  CHECK(images.Find(kKey)->size() == 0);
  MakeAndKeep(images, kKey, 'y');
  CHECK(NamesIn(dir.path()) == std::vector<std::string>{images.PathOf(kKey).filename().string()});
}

TEST_CASE("what another process is packing is left alone") {
  tests::TempDir dir;
  FileImages first(dir.path());
  auto image = first.Make(kKey);
  REQUIRE(image.ok());
  FileImages second(dir.path());
  MakeAndKeep(second, kKey, 'y');
  std::memset(image->data(), 'x', static_cast<size_t>(kKey.bytes));
  REQUIRE(first.Keep(kKey, *std::move(image)).ok());
  CHECK(second.Find(kKey)->data()[0] == std::byte{'x'});
}

TEST_CASE("ranks that make their images at the same time do not clean each other's away") {
  tests::TempDir dir;
  std::vector<pid_t> ranks;
  for (int rank = 0; rank < 4; ++rank) {
    ranks.push_back(fork());
    if (ranks.back() != 0) continue;
    bool good = true;
    for (int round = 0; round < 200; ++round) {
      FileImages images(dir.path());
      auto image = images.Make(kKey);
      good = good && image.ok() && NamesIn(dir.path()).size() <= 4;
      if (!image.ok()) std::cerr << image.status().ToString() << std::endl;
    }
    _exit(good ? 0 : 1);
  }
  for (const pid_t rank : ranks) {
    int status = 1;
    CHECK(waitpid(rank, &status, 0) == rank);
    CHECK(status == 0);
  }
}

TEST_CASE("a file that is cut off, changed in its header, or another's to write is not used") {
  tests::TempDir dir;
  FileImages images(dir.path());
  MakeAndKeep(images, kKey, 'x');
  const fs::path path = images.PathOf(kKey);
  fs::permissions(path, fs::perms::group_write, fs::perm_options::add);
  CHECK(images.Find(kKey)->size() == 0);
  fs::permissions(path, fs::perms::group_write, fs::perm_options::remove);
  CHECK(images.Find(kKey)->size() == kKey.bytes);
  std::fstream(path, std::ios::in | std::ios::out | std::ios::binary).seekp(30) << "?";
  CHECK(images.Find(kKey)->size() == 0);
  MakeAndKeep(images, kKey, 'z');
  fs::resize_file(path, fs::file_size(path) - 1);
  CHECK(images.Find(kKey)->size() == 0);
}

TEST_CASE("a folder that cannot be written, and an image larger than the disk, are errors") {
  tests::TempDir dir;
  std::ofstream(dir.path() / "file") << "x";
  FileImages blocked(dir.path() / "file");
  CHECK(absl::IsFailedPrecondition(blocked.Make(kKey).status()));
  FileImages images(dir.path());
  const ImageKey large = {"large", int64_t{1} << 60};
  CHECK(absl::IsResourceExhausted(images.Make(large).status()));
}

TEST_CASE("a second load takes the image and reads nothing, with the same weights") {
  tests::TempDir dir;
  const auto checkpoint =
      shard_loader::Checkpoint::Open(tests::Fixture("checkpoints/llama_small")).value();
  const auto plans = shard_loader::MakeRankPlans(checkpoint->spec(), {2, 1}).value();
  const auto load = [&] {
    FileImages images(dir.path());
    return LoadWeights(*checkpoint, plans[1], shard_loader::DType::kF32, images, {.threads = 2})
        .value();
  };
  const LoadedWeights first = load();
  const LoadedWeights second = load();
  CHECK(first.bytes_read > 0);
  CHECK(second.bytes_read == 0);
  REQUIRE(first.weights->bytes() == second.weights->bytes());
  CHECK(std::memcmp(first.weights->head().data, second.weights->head().data, 1024) == 0);
}

TEST_CASE("the cache writes while the rank runs, and gives the next start its image in memory") {
  tests::TempDir dir;
  std::vector<std::string> told;
  const auto tell = [&](bool is_warning, const std::string& text) {
    told.push_back((is_warning ? "warning: " : "") + text);
  };
  {
    MemfdImages memory(-1);
    CachedImages images(dir.path(), &memory, tell);
    CHECK(images.Find(kKey)->size() == 0);
    MakeAndKeep(images, kKey, 'x');
    CHECK(images.Find(kKey)->data()[0] == std::byte{'x'});  // from memory
    images.Finish();
    CHECK(NamesIn(dir.path()).size() == 1);
    CHECK(told.empty());
  }
  MemfdImages memory(-1);
  CachedImages images(dir.path(), &memory, tell);
  const auto found = images.Find(kKey);
  REQUIRE(found.ok());
  REQUIRE(found->size() == kKey.bytes);
  CHECK(found->data()[kKey.bytes - 1] == std::byte{'x'});
  REQUIRE(told.size() == 1);
  CHECK(told[0].find("come from") != std::string::npos);
}

TEST_CASE("a folder that cannot be written costs a warning and not the weights") {
  tests::TempDir dir;
  std::ofstream(dir.path() / "file") << "x";
  std::vector<std::string> told;
  MemfdImages memory(-1);
  CachedImages images(dir.path() / "file", &memory,
                      [&](bool, const std::string& text) { told.push_back(text); });
  MakeAndKeep(images, kKey, 'x');
  images.Finish();
  REQUIRE(told.size() == 1);
  CHECK(told[0].find("not cached") != std::string::npos);
}

}  // namespace
}  // namespace tessera::worker
