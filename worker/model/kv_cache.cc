#include "worker/model/kv_cache.h"

#include <algorithm>

#include "shard_loader/plan/workspace.h"
#include "shard_loader/status_macros.h"

namespace tessera::worker {

absl::StatusOr<KvCache> KvCache::Create(const shard_loader::DecoderSpec& spec,
                                        const shard_loader::RankPlan& plan,
                                        const shard_loader::KvFormat& format, int64_t num_blocks,
                                        Memory& memory) {
  KvCache cache;
  cache.memory_ = &memory;
  const int64_t bytes = shard_loader::KvBytesPerBlock(spec, plan, format) * num_blocks;
  ASSIGN_OR_RETURN(cache.buffer_, memory.Allocate(bytes, "the KV cache"));
  cache.first_layer_ = {cache.buffer_.data(),    format.dtype,
                        plan.kv_heads.size(),    spec.attention.head_size,
                        spec.attention.values(), format.int8};
  cache.num_layers_ = plan.layers.size();
  cache.layer_bytes_ = bytes / std::max<int64_t>(1, plan.layers.size());
  cache.num_blocks_ = num_blocks;
  return cache;
}

KvLayer KvCache::layer(int64_t index) {
  KvLayer layer = first_layer_;
  layer.data = buffer_.data() + index * layer_bytes_;
  return layer;
}

void KvCache::CopyBlock(int64_t from, int64_t to) {
  if (from == to) return;
  const int64_t block_bytes = layer_bytes_ / num_blocks_;
  for (int64_t layer = 0; layer < num_layers_; ++layer) {
    std::byte* data = buffer_.data() + layer * layer_bytes_;
    memory_->Copy(data + from * block_bytes, block_bytes, data + to * block_bytes);
  }
}

int64_t KvCache::block_bytes() const { return layer_bytes_ / num_blocks_ * num_layers_; }

void KvCache::CopyBlockOut(int64_t block, std::byte* to) {
  const int64_t bytes = layer_bytes_ / num_blocks_;
  for (int64_t layer = 0; layer < num_layers_; ++layer) {
    memory_->CopyOut(buffer_.data() + layer * layer_bytes_ + block * bytes, bytes,
                     to + layer * bytes);
  }
}

void KvCache::CopyBlockIn(const std::byte* from, int64_t block) {
  const int64_t bytes = layer_bytes_ / num_blocks_;
  for (int64_t layer = 0; layer < num_layers_; ++layer) {
    memory_->CopyIn(from + layer * bytes, bytes,
                    buffer_.data() + layer * layer_bytes_ + block * bytes);
  }
}

}  // namespace tessera::worker
