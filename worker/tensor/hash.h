// Hashes by which ranks are compared.
#ifndef TESSERA_WORKER_TENSOR_HASH_H_
#define TESSERA_WORKER_TENSOR_HASH_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace tessera::worker {

// FNV-1a (http://www.isthe.com/chongo/tech/comp/fnv/) over the bits of floats, four bytes at a
// time; never 0.
inline uint64_t HashFloats(const float* values, size_t count) {
  uint64_t hash = 0xcbf29ce484222325;
  for (size_t i = 0; i < count; ++i) {
    uint32_t bits;
    std::memcpy(&bits, values + i, sizeof(bits));
    hash = (hash ^ bits) * 0x100000001b3;
  }
  return hash == 0 ? 1 : hash;
}

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_TENSOR_HASH_H_
