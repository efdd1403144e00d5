// Where a rank keeps the contents of evicted KV blocks: numbered slots, in the host's memory or in
// a file.
#ifndef TESSERA_WORKER_MODEL_KV_SLOTS_H_
#define TESSERA_WORKER_MODEL_KV_SLOTS_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "shard_loader/io/unnamed_file.h"
#include "worker/model/kv_cache.h"
#include "worker/tensor/buffer.h"

namespace tessera::worker {

// Thread-compatible. Copies run in the order in which they are asked for, and in that of everything
// else in the cache's memory. Which slot holds what is the caller's business.
class KvSlots {
 public:
  // Slots for the blocks of `cache`, which is borrowed. In the host's memory where `folder` is
  // empty; else in a file there that has no name, all of its room taken now. RESOURCE_EXHAUSTED:
  // there is not as much; FAILED_PRECONDITION: the folder takes no file, and is named.
  static absl::StatusOr<std::unique_ptr<KvSlots>> Create(KvCache* cache, int64_t num_slots,
                                                         const std::string& folder);
  KvSlots(const KvSlots&) = delete;
  KvSlots& operator=(const KvSlots&) = delete;

  absl::Status Spill(int64_t block, int64_t slot);
  absl::Status Fetch(int64_t slot, int64_t block);

  // How long a fetch takes, the best of several with what lies in block 0, which stays as it is. Of
  // a file that the system has not written out yet: what a disk adds is not in it.
  absl::StatusOr<absl::Duration> MeasureFetch();
  int64_t bytes() const { return num_slots_ * block_bytes_; }

 private:
  KvSlots(KvCache* cache, int64_t num_slots);

  KvCache* const cache_;
  const int64_t block_bytes_;
  const int64_t num_slots_;
  Buffer memory_;  // all slots, or a block on its way to or from the file
  std::optional<shard_loader::UnnamedFile> file_;
  bool under_way_ = false;  // copies out of the cache may not have arrived
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_MODEL_KV_SLOTS_H_
