// A worker that this process has started: its life and its output.
#ifndef TESSERA_SERVER_EXECUTOR_CHILD_PROCESS_H_
#define TESSERA_SERVER_EXECUTOR_CHILD_PROCESS_H_

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/executor/unique_fd.h"
#include "shard_loader/mutex.h"

namespace tessera::server {

// The descriptors that a child finds open beside its output, as flags tell it; all others are
// closed.
inline constexpr int kChildParentFd = 3;  // reads end-of-file when this process ends
inline constexpr int kChildSecretFd = 4;  // the secret, then end-of-file
inline constexpr int kChildCommFd = 5;    // the memory of shm
inline constexpr int kChildImageFd = 6;   // the memory of its weights

struct ChildProcessOptions {
  std::string program;
  std::vector<std::string> arguments;    // without the program's name
  std::vector<std::string> environment;  // "NAME=value", beside this process's own
  std::string name;                      // "rank 0": before each line of its output in the log
  std::string secret;
  int comm_fd = -1;       // borrowed; -1: none
  int image_fd = -1;      // likewise
  std::vector<int> cpus;  // that it may run on; empty: this process's
};

// Two threads: one waits for the process, one copies its output to the log. Thread-safe.
class ChildProcess {
 public:
  // Told once, from a thread of this object: the process was stopped, or has ended; the status says
  // how ("was killed by signal 9").
  using LostFunction = std::function<void(absl::Status)>;

  // The system ends a child when the thread that started it ends: call it from one that lives as
  // long as the process should. NOT_FOUND where there is no such program.
  static absl::StatusOr<std::unique_ptr<ChildProcess>> Start(const ChildProcessOptions& options,
                                                             LostFunction on_lost);
  // Kills the process and everything in its process group, and reaps it.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const { return pid_; }
  void Signal(int number);
  // False where it still runs after `timeout`.
  bool WaitForExit(absl::Duration timeout);

 private:
  ChildProcess(pid_t pid, UniqueFd parent_pipe, UniqueFd output, std::string name,
               LostFunction on_lost);
  void Watch();
  void CopyOutput();
  void Lost(absl::Status why);

  const pid_t pid_;
  UniqueFd parent_pipe_;  // closes with this process, however that ends
  UniqueFd output_;
  const std::string name_;
  LostFunction on_lost_;  // of the watching thread; empty once called

  Mutex mutex_;
  CondVar changed_;
  bool reaped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread watch_;
  std::thread copy_;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_EXECUTOR_CHILD_PROCESS_H_
