// The hash of drawn ids by which ranks that diverge are found out.
#ifndef TESSERA_WORKER_RUNNER_IDS_HASH_H_
#define TESSERA_WORKER_RUNNER_IDS_HASH_H_

#include <cstdint>

namespace tessera::worker {

// FNV-1a (http://www.isthe.com/chongo/tech/comp/fnv/) over (sequence, id), least significant bytes
// first.
class IdsHash {
 public:
  void Add(uint64_t sequence, uint32_t id) {
    for (int i = 0; i < 8; ++i) AddByte(sequence >> (8 * i) & 0xff);
    for (int i = 0; i < 4; ++i) AddByte(id >> (8 * i) & 0xff);
  }
  uint64_t value() const { return value_; }

 private:
  void AddByte(uint64_t byte) { value_ = (value_ ^ byte) * 0x100000001b3; }
  uint64_t value_ = 0xcbf29ce484222325;
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_RUNNER_IDS_HASH_H_
