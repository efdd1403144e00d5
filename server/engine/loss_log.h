// What became of lost groups, as GetStatus shows it.
#ifndef TESSERA_SERVER_ENGINE_LOSS_LOG_H_
#define TESSERA_SERVER_ENGINE_LOSS_LOG_H_

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "shard_loader/mutex.h"

namespace tessera::server {

struct LossRecord {
  uint64_t epoch = 0;
  std::optional<uint32_t> rank;  // where one is to blame
  std::string cause;
  absl::Time at;
  std::optional<absl::Duration> pause;  // until the group was ready again; none: it is not yet
  uint64_t requests_replayed = 0;       // those that had run
  uint64_t tokens_replayed = 0;         // theirs, computed once more
  uint64_t requests_moved = 0;          // that went on on other replicas
};

// The newest ones. Thread-safe.
class LossLog {
 public:
  static constexpr size_t kKept = 16;

  void Lost(LossRecord record) {
    MutexLock lock(mutex_);
    records_.push_back(std::move(record));
    if (records_.size() > kKept) records_.pop_front();
  }
  // The group is ready again. Returns the newest record where that was open.
  std::optional<LossRecord> Back(absl::Time now) {
    MutexLock lock(mutex_);
    if (records_.empty() || records_.back().pause) return std::nullopt;
    records_.back().pause = now - records_.back().at;
    return records_.back();
  }
  // So many more requests went elsewhere because of the newest one.
  void Moved(uint64_t requests) {
    MutexLock lock(mutex_);
    if (!records_.empty()) records_.back().requests_moved += requests;
  }
  // Oldest first.
  std::vector<LossRecord> Read() const {
    MutexLock lock(mutex_);
    return {records_.begin(), records_.end()};
  }

 private:
  mutable Mutex mutex_;
  std::deque<LossRecord> records_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_ENGINE_LOSS_LOG_H_
