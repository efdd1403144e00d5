// A whole safetensors file: what is accepted tiles the file exactly.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "shard_loader/format/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tessera::shard_loader;
  const std::string_view file(reinterpret_cast<const char*>(data), size);
  const auto length = SafetensorsHeaderLength(file.substr(0, 8), size, "f");
  if (!length.ok()) return 0;
  const auto tensors = ParseSafetensorsHeader(file.substr(8, *length), size, "f");
  if (!tensors.ok()) return 0;
  uint64_t next = kSafetensorsPrefix + *length;
  for (const SafetensorsTensor& tensor : *tensors) {
    if (tensor.begin != next || tensor.end < next) std::abort();
    next = tensor.end;
  }
  if (next != size) std::abort();
  return 0;
}
