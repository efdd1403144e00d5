// Any bytes as Flax msgpack. What is read lies inside of the file.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "shard_loader/format/flax.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tessera::shard_loader;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto index = ReadFlax(MemorySource("fuzz.msgpack", bytes));
  if (!index.ok()) return 0;
  for (const IndexedTensor& tensor : index->tensors()) {
    if (!Within(tensor.data.offset, tensor.data.bytes, size)) std::abort();
  }
  return 0;
}
