// A rank's paged KV cache: for each of its layers, blocks of 16 tokens.
#ifndef TESSERA_WORKER_MODEL_KV_CACHE_H_
#define TESSERA_WORKER_MODEL_KV_CACHE_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "shard_loader/model/decoder_spec.h"
#include "shard_loader/plan/kv_format.h"
#include "shard_loader/plan/rank_plan.h"
#include "worker/backend/ops.h"
#include "worker/tensor/buffer.h"
#include "worker/tensor/memory.h"

namespace tessera::worker {

// Thread-compatible. Which block holds what is the caller's business.
class KvCache {
 public:
  static absl::StatusOr<KvCache> Create(const shard_loader::DecoderSpec& spec,
                                        const shard_loader::RankPlan& plan,
                                        const shard_loader::KvFormat& format, int64_t num_blocks,
                                        Memory& memory = HostMemory());

  // Of the rank's `index`-th layer.
  KvLayer layer(int64_t index);
  // Copies the contents of one block to another, in every layer.
  void CopyBlock(int64_t from, int64_t to);
  // A block's contents to this host's memory, all layers in a row, and back; as Memory::CopyOut and
  // CopyIn.
  void CopyBlockOut(int64_t block, std::byte* to);
  void CopyBlockIn(const std::byte* from, int64_t block);
  int64_t block_bytes() const;  // in all layers
  Memory& memory() { return *memory_; }
  int64_t num_blocks() const { return num_blocks_; }
  int64_t bytes() const { return buffer_.size(); }

 private:
  KvCache() = default;

  Memory* memory_ = nullptr;  // of the buffer; borrowed
  Buffer buffer_;
  KvLayer first_layer_;
  int64_t layer_bytes_ = 0;
  int64_t num_layers_ = 0;
  int64_t num_blocks_ = 0;
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_MODEL_KV_CACHE_H_
