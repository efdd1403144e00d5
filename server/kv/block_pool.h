// Who holds which block of a group's KV cache: numbers of blocks, no memory.
#ifndef TESSERA_SERVER_KV_BLOCK_POOL_H_
#define TESSERA_SERVER_KV_BLOCK_POOL_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "absl/types/span.h"

namespace tessera::server {

// Every rank of a group has the same blocks under the same numbers, so one pool counts for all. A
// block is free, held by one or more sequences, or idle: held by none, but kept for its contents
// until Allocate needs it. Owned by one thread.
class BlockPool {
 public:
  explicit BlockPool(uint32_t num_blocks);

  // `count` blocks with one holder each, or nothing where fewer are available. The lowest numbers
  // of a new pool come first; idle blocks are given out when no free one is left, in the order in
  // which they became idle.
  std::optional<std::vector<uint32_t>> Allocate(uint32_t count);
  // One more holder of a block that is held or idle.
  void Share(uint32_t block);
  // One holder less (checked: a block that nobody holds ends the process). What nobody holds any
  // longer may be given out again at once: ranks run steps strictly in order.
  void Release(uint32_t block);
  // The block becomes idle, not free, when its last holder releases it.
  void Keep(uint32_t block);
  // Called with an idle block before it is given out: its contents are about to go.
  void SetOnEvict(std::function<void(uint32_t)> on_evict) { on_evict_ = std::move(on_evict); }

  uint32_t num_blocks() const { return static_cast<uint32_t>(blocks_.size()); }
  // What Allocate can give: free and idle ones.
  uint32_t num_available() const { return static_cast<uint32_t>(free_.size()) + num_idle_; }
  uint32_t num_idle() const { return num_idle_; }
  uint32_t holders(uint32_t block) const { return blocks_[block].holders; }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  struct Block {
    uint32_t holders = 0;
    bool kept = false;
    // Of the list of idle blocks, the longest idle first.
    uint32_t before = kNone;
    uint32_t after = kNone;
  };
  void Unlink(uint32_t block);
  void LinkLast(uint32_t block);

  std::vector<Block> blocks_;
  std::vector<uint32_t> free_;  // a stack
  uint32_t first_idle_ = kNone;
  uint32_t last_idle_ = kNone;
  uint32_t num_idle_ = 0;
  std::function<void(uint32_t)> on_evict_;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_KV_BLOCK_POOL_H_
