// The store of one group and epoch as one of its workers has it: the frontend passes entries on.
#ifndef TESSERA_WORKER_APP_SESSION_STORE_H_
#define TESSERA_WORKER_APP_SESSION_STORE_H_

#include <functional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "shard_loader/mutex.h"
#include "worker/comm/key_value_store.h"

namespace tessera::worker {

// Set and Get are for the thread that connects; Put and Close come from the one that reads the
// session. Thread-safe.
class SessionStore : public KeyValueStore {
 public:
  // `send` passes an entry of this rank to the frontend; false where the session is gone.
  using SendFunction = std::function<bool(const std::string& key, const std::string& value)>;
  explicit SessionStore(SendFunction send) : send_(std::move(send)) {}

  absl::Status Set(const std::string& key, const std::string& value) override;
  absl::StatusOr<std::string> Get(const std::string& key, absl::Duration timeout) override;

  // An entry of another rank. RESOURCE_EXHAUSTED beyond 65,536 entries or 64 KB of value.
  absl::Status Put(std::string key, std::string value);
  // Ends every Get with `why`.
  void Close(absl::Status why);

 private:
  const SendFunction send_;
  Mutex mutex_;
  CondVar changed_;
  absl::flat_hash_map<std::string, std::string> entries_ ABSL_GUARDED_BY(mutex_);
  absl::Status closed_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_APP_SESSION_STORE_H_
