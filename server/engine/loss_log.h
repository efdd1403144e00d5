// What became of lost groups, as GetStatus shows it.
#ifndef TESSERA_SERVER_ENGINE_LOSS_LOG_H_
#define TESSERA_SERVER_ENGINE_LOSS_LOG_H_

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "shard_loader/mutex.h"

namespace tessera::server {

struct LossRecord {
  uint64_t epoch = 0;
  bool was_ready = false;        // else it was being made
  std::optional<uint32_t> rank;  // where one is to blame
  std::string cause;
  absl::Time at;
  std::optional<absl::Duration> pause;  // until the group was ready again; none: it is not yet
  uint64_t requests_replayed = 0;       // those that had run
  uint64_t tokens_replayed = 0;         // theirs, computed once more
  uint64_t requests_moved = 0;          // that went on on other replicas
};

// The newest ones. A group may be lost again before it is ready: all that were since it was are
// open until it is. Thread-safe.
class LossLog {
 public:
  static constexpr size_t kKept = 16;

  void Lost(LossRecord record) {
    MutexLock lock(mutex_);
    records_.push_back(std::move(record));
    if (records_.size() <= kKept) return;
    // The first open one says what is replayed.
    records_.erase(records_.begin() + (records_.front().pause ? 0 : 1));
  }
  // The group is ready. Returns the first of the open ones.
  std::optional<LossRecord> Back(absl::Time now) {
    MutexLock lock(mutex_);
    const size_t first = FirstOpen();
    for (size_t i = first; i < records_.size(); ++i) records_[i].pause = now - records_[i].at;
    if (first == records_.size()) return std::nullopt;
    return records_[first];
  }
  // So many more requests went elsewhere because of the first open one.
  void Moved(uint64_t requests) {
    MutexLock lock(mutex_);
    if (FirstOpen() < records_.size()) records_[FirstOpen()].requests_moved += requests;
  }
  // Oldest first.
  std::vector<LossRecord> Read() const {
    MutexLock lock(mutex_);
    return {records_.begin(), records_.end()};
  }

 private:
  // Open ones are the newest.
  size_t FirstOpen() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    size_t first = records_.size();
    while (first > 0 && !records_[first - 1].pause) --first;
    return first;
  }

  mutable Mutex mutex_;
  std::deque<LossRecord> records_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_ENGINE_LOSS_LOG_H_
