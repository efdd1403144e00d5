// The free list of a group's KV cache: numbers of blocks, no memory.
#ifndef TESSERA_SERVER_KV_BLOCK_POOL_H_
#define TESSERA_SERVER_KV_BLOCK_POOL_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"

namespace tessera::server {

// Every rank of a group has the same blocks under the same numbers, so one pool counts for all.
// Owned by one thread.
class BlockPool {
 public:
  explicit BlockPool(uint32_t num_blocks);

  // `count` blocks, or nothing where fewer are free. The lowest numbers of a new pool come first.
  std::optional<std::vector<uint32_t>> Allocate(uint32_t count);
  // Gives blocks back. A block may be given out again at once: ranks run steps strictly in order.
  // Each must be allocated (checked: a double free ends the process).
  void Free(absl::Span<const uint32_t> blocks);

  uint32_t num_blocks() const { return static_cast<uint32_t>(allocated_.size()); }
  uint32_t num_free() const { return static_cast<uint32_t>(free_.size()); }

 private:
  std::vector<uint32_t> free_;  // a stack
  std::vector<bool> allocated_;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_KV_BLOCK_POOL_H_
