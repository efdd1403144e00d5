// A tessera-server of our own, for as long as a command needs it.
#ifndef TESSERA_CLIENT_CLI_SERVER_CHILD_H_
#define TESSERA_CLIENT_CLI_SERVER_CHILD_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "shard_loader/mutex.h"

namespace tessera::client {

// Ends with this object, and with this process however that ends. Thread-compatible.
class ServerChild {
 public:
  struct Options {
    std::string program;
    std::vector<std::string> arguments;                // --grpc-port 0 is added
    std::vector<std::string> environment;              // "NAME=value", beside this process's own
    absl::Duration ready_timeout = absl::Minutes(30);  // large models take their time
  };
  // Waits until it is ready. FAILED_PRECONDITION with what it said last, where it ends instead;
  // DEADLINE_EXCEEDED where it gets neither.
  static absl::StatusOr<std::unique_ptr<ServerChild>> Start(const Options& options);
  ~ServerChild();
  ServerChild(const ServerChild&) = delete;
  ServerChild& operator=(const ServerChild&) = delete;

  const std::string& target() const { return target_; }  // host:port
  // Everything that it has written so far.
  std::string output() const;

 private:
  ServerChild(pid_t pid, int output_fd);
  absl::Status WaitUntilReady(absl::Duration timeout);
  void ReadOutput();

  const pid_t pid_;
  const int output_fd_;
  std::string target_;
  mutable Mutex mutex_;
  CondVar changed_;
  std::string output_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread reader_;
};

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_CLI_SERVER_CHILD_H_
