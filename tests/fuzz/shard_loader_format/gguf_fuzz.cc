// Any bytes as a GGUF file and its vocabulary. What is read lies inside of the file.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "shard_loader/format/gguf_vocabulary.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tessera::shard_loader;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto file = GgufFile::Read(MemorySource("fuzz.gguf", bytes));
  if (!file.ok()) return 0;
  for (const IndexedTensor& tensor : (*file)->index().tensors()) {
    if (!Within(tensor.data.offset, tensor.data.bytes, size)) std::abort();
  }
  (void)ReadVocabulary(**file, "fuzz.gguf");
  return 0;
}
