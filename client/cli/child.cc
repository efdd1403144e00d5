#include "client/cli/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "shard_loader/status_macros.h"

extern char** environ;

namespace tessera::client {
namespace {

class Pipe {
 public:
  Pipe() = default;
  ~Pipe() {
    CloseRead();
    CloseWrite();
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  absl::Status Open() {
    if (pipe2(ends_, O_CLOEXEC) == 0) return absl::OkStatus();
    return absl::ResourceExhaustedError(absl::StrCat("cannot make a pipe: ", strerror(errno)));
  }
  int read_end() const { return ends_[0]; }
  int write_end() const { return ends_[1]; }
  void CloseRead() { Close(ends_[0]); }
  void CloseWrite() { Close(ends_[1]); }

 private:
  static void Close(int& end) {
    if (end >= 0) close(end);
    end = -1;
  }
  int ends_[2] = {-1, -1};
};

absl::StatusOr<pid_t> Spawn(const std::vector<std::string>& argv, int out, int err) {
  std::vector<char*> arguments;
  for (const std::string& argument : argv) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
  pid_t child = -1;
  const int failed =
      posix_spawn(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed == 0) return child;
  return absl::NotFoundError(absl::StrCat("cannot run ", argv[0], ": ", strerror(failed)));
}

// Reads both ends until they are closed; false where `deadline` passed first.
bool ReadAll(Pipe& out, Pipe& err, absl::Time deadline, ChildResult& result) {
  std::array<char, 4096> buffer;
  while (out.read_end() >= 0 || err.read_end() >= 0) {
    pollfd polled[2] = {{out.read_end(), POLLIN, 0}, {err.read_end(), POLLIN, 0}};
    const int64_t left = absl::ToInt64Milliseconds(deadline - absl::Now());
    if (left <= 0) return false;
    if (poll(polled, 2, static_cast<int>(std::min<int64_t>(left, 1000))) < 0) continue;
    for (int i = 0; i < 2; ++i) {
      if (polled[i].revents == 0) continue;
      Pipe& pipe = i == 0 ? out : err;
      const ssize_t count = read(pipe.read_end(), buffer.data(), buffer.size());
      if (count > 0) (i == 0 ? result.out : result.err).append(buffer.data(), count);
      if (count == 0) pipe.CloseRead();
    }
  }
  return true;
}

}  // namespace

absl::StatusOr<ChildResult> RunChild(const std::vector<std::string>& argv, absl::Duration timeout) {
  Pipe out, err;
  RETURN_IF_ERROR(out.Open());
  RETURN_IF_ERROR(err.Open());
  ASSIGN_OR_RETURN(pid_t child, Spawn(argv, out.write_end(), err.write_end()));
  out.CloseWrite();
  err.CloseWrite();
  ChildResult result;
  const bool in_time = ReadAll(out, err, absl::Now() + timeout, result);
  if (!in_time) kill(child, SIGKILL);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!in_time) {
    return absl::DeadlineExceededError(
        absl::StrCat(argv[0], " gave no answer within ", absl::FormatDuration(timeout)));
  }
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

}  // namespace tessera::client
