#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <cstring>

#include "tests/support/fixtures.h"
#include "worker/model/load_weights.h"
#include "worker/model/memfd_images.h"

namespace tessera::worker {
namespace {

const ImageKey kKey = {"weights of a test", 8192};

int NewMemfd() { return memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING); }

void MakeAndKeep(WeightImages& images, const ImageKey& key, char content) {
  auto image = images.Make(key);
  REQUIRE(image.ok());
  REQUIRE(image->size() == key.bytes);
  CHECK(image->data()[key.bytes - 1] == std::byte{0});
  std::memset(image->data(), content, static_cast<size_t>(key.bytes));
  auto kept = images.Keep(key, *std::move(image));
  REQUIRE(kept.ok());
  CHECK(kept->data()[0] == static_cast<std::byte>(content));
}

TEST_CASE("a finished image is found by whoever holds the descriptor, as long as anybody does") {
  int held = NewMemfd();
  {
    MemfdImages first(dup(held));
    CHECK(first.Find(kKey)->size() == 0);
    MakeAndKeep(first, kKey, 'x');
  }
  MemfdImages second(dup(held));
  close(held);
  auto found = second.Find(kKey);
  REQUIRE(found.ok());
  REQUIRE(found->size() == kKey.bytes);
  CHECK(found->data()[kKey.bytes - 1] == std::byte{'x'});
}

TEST_CASE("an image that its process did not finish is not found, and made anew from zeros") {
  int held = NewMemfd();
  {
    MemfdImages first(dup(held));
    auto image = first.Make(kKey);
    REQUIRE(image.ok());
    std::memset(image->data(), 'x', 100);
  }
  MemfdImages second(dup(held));
  CHECK(second.Find(kKey)->size() == 0);
  MakeAndKeep(second, kKey, 'y');
  CHECK(second.Find(kKey)->size() == kKey.bytes);
  close(held);
}

TEST_CASE("an image of something else is not taken for it") {
  MemfdImages images(NewMemfd());
  MakeAndKeep(images, kKey, 'x');
  ImageKey other = {"other weights", kKey.bytes};
  CHECK(images.Find(other)->size() == 0);
  CHECK(images.Find({kKey.id, 4096})->size() == 0);
  MakeAndKeep(images, other, 'y');
  CHECK(images.Find(other)->data()[0] == std::byte{'y'});
  CHECK(images.Find(kKey)->size() == 0);
}

TEST_CASE("nobody can write into a finished image, also not over the descriptor") {
  int fd = NewMemfd();
  MemfdImages images(dup(fd));
  MakeAndKeep(images, kKey, 'x');
  CHECK(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
  CHECK(pwrite(fd, "y", 1, 2 << 20) == -1);
  CHECK(ftruncate(fd, 0) == -1);
  close(fd);
}

TEST_CASE("weights are read from the checkpoint once, and found in the image after that") {
  auto checkpoint = shard_loader::Checkpoint::Open(tests::DemoModel());
  REQUIRE(checkpoint.ok());
  auto plans = shard_loader::MakeRankPlans((*checkpoint)->spec(), {.tp = 2, .pp = 1, .lanes = 8});
  REQUIRE(plans.ok());
  MemfdImages images(-1);
  const auto load = [&](int rank, shard_loader::DType dtype) {
    auto loaded = LoadWeights(**checkpoint, (*plans)[rank], dtype, images, {});
    REQUIRE(loaded.ok());
    return *std::move(loaded);
  };
  LoadedWeights first = load(0, shard_loader::DType::kF32);
  LoadedWeights again = load(0, shard_loader::DType::kF32);
  CHECK(first.bytes_read > 0);
  CHECK(again.bytes_read == 0);
  const PackedMatrix& a = first.weights->layers()[0].mlp.gate;
  const PackedMatrix& b = again.weights->layers()[0].mlp.gate;
  CHECK(a.data != b.data);
  CHECK(std::memcmp(a.data, b.data, static_cast<size_t>(a.rows * a.columns * 4)) == 0);
  CHECK(load(1, shard_loader::DType::kF32).bytes_read > 0);
  CHECK(load(1, shard_loader::DType::kBF16).bytes_read > 0);
}

}  // namespace
}  // namespace tessera::worker
