// Any bytes as the index of a TensorFlow checkpoint. Tensors have the bytes that their shapes need.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "shard_loader/format/tf_bundle.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tessera::shard_loader;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto bundle = ReadTfBundle(MemorySource("fuzz.index", bytes));
  if (!bundle.ok()) return 0;
  for (const TfBundleTensor& tensor : bundle->tensors) {
    if (tensor.shard >= bundle->shards) std::abort();
  }
  return 0;
}
