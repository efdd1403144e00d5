#include "server/kv/block_pool.h"

#include <cassert>

namespace tessera::server {

BlockPool::BlockPool(uint32_t num_blocks) : blocks_(num_blocks) {
  free_.reserve(num_blocks);
  for (uint32_t block = num_blocks; block > 0; --block) free_.push_back(block - 1);
}

void BlockPool::Unlink(uint32_t block) {
  Block& b = blocks_[block];
  (b.before == kNone ? first_idle_ : blocks_[b.before].after) = b.after;
  (b.after == kNone ? last_idle_ : blocks_[b.after].before) = b.before;
  b.before = b.after = kNone;
  --num_idle_;
}

void BlockPool::LinkLast(uint32_t block) {
  blocks_[block].before = last_idle_;
  (last_idle_ == kNone ? first_idle_ : blocks_[last_idle_].after) = block;
  last_idle_ = block;
  ++num_idle_;
}

std::optional<std::vector<uint32_t>> BlockPool::Allocate(uint32_t count) {
  if (count > num_available()) return std::nullopt;
  std::vector<uint32_t> blocks;
  blocks.reserve(count);
  while (blocks.size() < count) {
    uint32_t block = first_idle_;
    if (!free_.empty()) {
      block = free_.back();
      free_.pop_back();
    } else {
      if (on_evict_) on_evict_(block);
      Unlink(block);
      blocks_[block].kept = false;
    }
    blocks_[block].holders = 1;
    blocks.push_back(block);
  }
  return blocks;
}

void BlockPool::Share(uint32_t block) {
  Block& b = blocks_[block];
  assert(b.holders > 0 || b.kept);
  if (b.holders++ == 0) Unlink(block);
}

void BlockPool::Release(uint32_t block) {
  assert(block < blocks_.size() && blocks_[block].holders > 0);
  Block& b = blocks_[block];
  if (--b.holders > 0) return;
  if (b.kept) {
    LinkLast(block);
  } else {
    free_.push_back(block);
  }
}

void BlockPool::Keep(uint32_t block) {
  assert(blocks_[block].holders > 0);
  blocks_[block].kept = true;
}

}  // namespace tessera::server
