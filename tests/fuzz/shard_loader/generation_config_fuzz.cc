// generation_config.json: accepted values are values that a request could have.
#include <cstdint>
#include <cstdlib>

#include "shard_loader/model/generation_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tessera::shard_loader;
  const auto defaults = ParseGenerationConfig({reinterpret_cast<const char*>(data), size});
  if (!defaults.ok()) return 0;
  if (defaults->temperature.value_or(0) < 0 || !(defaults->top_p.value_or(1) <= 1)) std::abort();
  return 0;
}
