// Division and multiples, rounded up. Of numbers that are not negative.
#ifndef TESSERA_SHARD_LOADER_PLAN_ROUNDING_H_
#define TESSERA_SHARD_LOADER_PLAN_ROUNDING_H_

#include <cstdint>

namespace tessera::shard_loader {

constexpr int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t RoundUp(int64_t value, int64_t multiple) {
  return CeilDiv(value, multiple) * multiple;
}

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_PLAN_ROUNDING_H_
