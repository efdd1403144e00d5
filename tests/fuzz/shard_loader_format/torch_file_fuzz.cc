// Any bytes as a PyTorch file: zip directory, legacy container and pickle. What is read lies inside
// of the file.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "shard_loader/format/torch_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tessera::shard_loader;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto file = TorchFile::Read(MemorySource("fuzz.bin", bytes));
  if (file.ok()) {
    for (const IndexedTensor& tensor : (*file)->index().tensors()) {
      if (!Within(tensor.data.offset, tensor.data.bytes, size)) std::abort();
    }
  }
  // The same bytes as the pickle alone, which a zip's directory would hide.
  (void)Pickle::Parse(bytes, "fuzz.pkl", {});
  return 0;
}
