#include "server/kv/block_pool.h"

#include <cassert>

namespace tessera::server {

BlockPool::BlockPool(uint32_t num_blocks) : allocated_(num_blocks) {
  free_.reserve(num_blocks);
  for (uint32_t block = num_blocks; block > 0; --block) free_.push_back(block - 1);
}

std::optional<std::vector<uint32_t>> BlockPool::Allocate(uint32_t count) {
  if (count > free_.size()) return std::nullopt;
  std::vector<uint32_t> blocks(free_.rbegin(), free_.rbegin() + count);
  free_.resize(free_.size() - count);
  for (uint32_t block : blocks) allocated_[block] = true;
  return blocks;
}

void BlockPool::Free(absl::Span<const uint32_t> blocks) {
  for (auto it = blocks.rbegin(); it != blocks.rend(); ++it) {
    assert(*it < allocated_.size() && allocated_[*it]);
    allocated_[*it] = false;
    free_.push_back(*it);
  }
}

}  // namespace tessera::server
