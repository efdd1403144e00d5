// Any bytes as the index of a distributed PyTorch checkpoint. Chunks lie inside of their tensors.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "shard_loader/format/torch_dist.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tessera::shard_loader;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto tensors = ParseTorchDist(bytes, ".metadata");
  if (!tensors.ok()) return 0;
  for (const DistTensor& tensor : *tensors) {
    for (const DistChunk& chunk : tensor.chunks) {
      if (chunk.file.find('/') != std::string::npos) std::abort();
      for (size_t i = 0; i < tensor.shape.size(); ++i) {
        if (chunk.origin[i] + chunk.sizes[i] > tensor.shape[i]) std::abort();
      }
    }
  }
  return 0;
}
