// Follows a server while it loads.
#ifndef TESSERA_CLIENT_CLI_LOAD_WATCHER_H_
#define TESSERA_CLIENT_CLI_LOAD_WATCHER_H_

#include <string>
#include <thread>

#include "client/lib/client.h"
#include "shard_loader/mutex.h"

namespace tessera::client {

struct LoadProgress {
  double fraction = 0.0;
  std::string what;
  bool over = false;  // ready or failed, or the server has gone
};

// Thread-safe; a thread of its own asks the server.
class LoadWatcher {
 public:
  explicit LoadWatcher(std::string target);
  ~LoadWatcher();
  LoadWatcher(const LoadWatcher&) = delete;
  LoadWatcher& operator=(const LoadWatcher&) = delete;

  LoadProgress progress() const;

 private:
  void Watch();
  void Follow(Stream<ServerStatus>& stream);

  const std::string target_;
  mutable Mutex mutex_;
  LoadProgress progress_ ABSL_GUARDED_BY(mutex_);
  Stream<ServerStatus>* stream_ ABSL_GUARDED_BY(mutex_) = nullptr;  // while Watch follows one
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_CLI_LOAD_WATCHER_H_
