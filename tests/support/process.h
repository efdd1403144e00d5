// Programs that tests start, watch and end.
#ifndef TESSERA_TESTS_SUPPORT_PROCESS_H_
#define TESSERA_TESTS_SUPPORT_PROCESS_H_

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "shard_loader/mutex.h"

namespace tessera::tests {

// After this long something that should have happened is taken for hung.
inline constexpr std::chrono::seconds kHangLimit{30};

// A running program, its output collected. Killed and reaped in the destructor; killed too where
// this process ends without it, by a crash or a time limit. Thread-compatible.
class Process {
 public:
  // Throws where the program cannot be started.
  Process(const std::filesystem::path& program, const std::vector<std::string>& arguments);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  // Standard output and error, so far.
  std::string output() const;
  // The first line that contains `text`; nullopt where the program ended, or the limit passed,
  // without it.
  std::optional<std::string> WaitForLine(const std::string& text,
                                         std::chrono::seconds limit = kHangLimit);
  void Signal(int number);
  // The exit code, 128 + N for a program that signal N ended; nullopt where it still runs.
  std::optional<int> WaitForExit(std::chrono::seconds limit = kHangLimit);

 private:
  // Called by the reader. Returns errno.
  int Start(const std::filesystem::path& program, const std::vector<std::string>& arguments,
            int output);
  void ReadOutput();
  void End();

  pid_t pid_ = -1;
  int output_fd_ = -1;
  std::optional<int> exit_code_;
  mutable Mutex mutex_;
  mutable CondVar changed_;
  std::string output_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;  // the output is closed
  bool over_ ABSL_GUARDED_BY(mutex_) = false;   // the reader may end
  std::thread reader_;
};

// A tessera-worker on a free port of an address of this host.
class TcpWorker {
 public:
  explicit TcpWorker(const std::string& secret_file, const std::string& host = "127.0.0.1");
  const std::string& address() const { return address_; }
  Process& process() { return process_; }

 private:
  Process process_;
  std::string address_;
};

// A tessera-server on a free port, ready to take requests.
class Server {
 public:
  // Adds --grpc-port 0. Throws, with the log, where it does not become ready.
  explicit Server(std::vector<std::string> arguments);

  const std::string& target() const { return target_; }  // host:port
  Process& process() { return process_; }
  // SIGTERM, then the exit code; nullopt where it hangs.
  std::optional<int> Stop();

 private:
  Process process_;
  std::string target_;
};

}  // namespace tessera::tests

#endif  // TESSERA_TESTS_SUPPORT_PROCESS_H_
