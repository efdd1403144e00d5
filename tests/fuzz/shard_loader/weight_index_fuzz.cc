// model.safetensors.index.json: no accepted file name leaves the folder.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "shard_loader/format/weight_index.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tessera::shard_loader;
  const auto index = ParseWeightIndex({reinterpret_cast<const char*>(data), size}, "f");
  if (!index.ok()) return 0;
  for (const std::string& file : index->files) {
    if (file.find('/') != std::string::npos || file[0] == '.') std::abort();
  }
  return 0;
}
