#include "shard_loader/format/tf_bundle.h"

#include <catch2/catch.hpp>
#include <string>

#include "tests/support/fixtures.h"

namespace tessera::shard_loader {
namespace {

std::string Index() {
  return tests::ReadFile(tests::Fixture("formats/tensorflow_gpt2/model.ckpt.index"));
}

const TfBundleTensor* Find(const TfBundle& bundle, std::string_view name) {
  for (const TfBundleTensor& tensor : bundle.tensors) {
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

TEST_CASE("TensorFlow's own index is read") {
  const std::string index = Index();
  const auto bundle = ReadTfBundle(MemorySource("model.ckpt.index", index));
  INFO(bundle.status().ToString());
  REQUIRE(bundle.ok());
  CHECK(bundle->shards == 1);
  CHECK(bundle->tensors.size() == 28);
  const TfBundleTensor* kernel = Find(*bundle, "model/h1/mlp/c_fc/w");
  REQUIRE(kernel != nullptr);
  CHECK(kernel->type == StoredType::kF32);
  CHECK(kernel->shape == std::vector<int64_t>{1, 64, 256});
  CHECK(kernel->data.bytes == 64 * 256 * 4);
}

TEST_CASE("an index that is cut off or changed is refused") {
  const std::string whole = Index();
  for (size_t size = 0; size < whole.size(); size += 13) {
    INFO(size);
    const std::string part = whole.substr(0, size);
    CHECK(absl::IsDataLoss(ReadTfBundle(MemorySource("x.index", part)).status()));
  }
  for (size_t at = 0; at + 48 < whole.size(); at += 29) {
    std::string changed = whole;
    changed[at] ^= 0x55;
    const auto bundle = ReadTfBundle(MemorySource("x.index", changed));
    INFO(at << ": " << bundle.status().ToString());
    // A byte of no block: the metadata block, which is empty.
    if (bundle.ok()) CHECK(bundle->tensors.size() == 28);
  }
}

}  // namespace
}  // namespace tessera::shard_loader
