// Where ranks that do not know each other yet leave their addresses: the frontend, in production.
#ifndef TESSERA_WORKER_COMM_KEY_VALUE_STORE_H_
#define TESSERA_WORKER_COMM_KEY_VALUE_STORE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace tessera::worker {

// One store per group and epoch, shared by its ranks. Keys are set once; values are bytes, up to a
// few KB. Used by one thread at a time.
class KeyValueStore {
 public:
  virtual ~KeyValueStore() = default;
  virtual absl::Status Set(const std::string& key, const std::string& value) = 0;
  // Waits until a rank has set `key`; DEADLINE_EXCEEDED after `timeout`, or the error of a store
  // that is gone.
  virtual absl::StatusOr<std::string> Get(const std::string& key, absl::Duration timeout) = 0;
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_COMM_KEY_VALUE_STORE_H_
