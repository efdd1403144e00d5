#include "client/cli/server_child.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "shard_loader/status_macros.h"

extern char** environ;

namespace tessera::client {
namespace {

constexpr std::string_view kReady = "ready: ";
constexpr absl::Duration kEndTime = absl::Seconds(20);

// Only what a forked child may call: exec follows, or the end.
[[noreturn]] void BecomeServer(char* const* argv, char* const* environment, int output) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int null = open("/dev/null", O_RDONLY);
  dup2(null, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  execve(argv[0], argv, environment);
  _exit(127);
}

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (const std::string& each : strings) pointers.push_back(const_cast<char*>(each.c_str()));
  return pointers;
}

// The last words of a server that gave up: its own line, not the log before it.
std::string LastLine(const std::string& output) {
  std::vector<std::string> lines = absl::StrSplit(output, '\n', absl::SkipWhitespace());
  return lines.empty() ? "it said nothing" : std::string(absl::StripAsciiWhitespace(lines.back()));
}

}  // namespace

absl::StatusOr<std::unique_ptr<ServerChild>> ServerChild::Start(const Options& options) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return absl::ResourceExhaustedError(absl::StrCat("cannot make a pipe: ", strerror(errno)));
  }
  std::vector<std::string> arguments = {options.program};
  arguments.insert(arguments.end(), options.arguments.begin(), options.arguments.end());
  arguments.insert(arguments.end(), {"--grpc-port", "0"});
  std::vector<char*> argv = Pointers(arguments);
  argv.push_back(nullptr);
  std::vector<char*> environment = Pointers(options.environment);
  for (char** entry = environ; *entry != nullptr; ++entry) environment.push_back(*entry);
  environment.push_back(nullptr);
  const pid_t pid = fork();
  if (pid == 0) BecomeServer(argv.data(), environment.data(), ends[1]);
  close(ends[1]);
  if (pid < 0) {
    close(ends[0]);
    return absl::ResourceExhaustedError(absl::StrCat("cannot fork: ", strerror(errno)));
  }
  std::unique_ptr<ServerChild> child(new ServerChild(pid, ends[0]));
  RETURN_IF_ERROR(child->WaitUntilReady(options.ready_timeout));
  return child;
}

ServerChild::ServerChild(pid_t pid, int output_fd)
    : pid_(pid), output_fd_(output_fd), reader_([this] { ReadOutput(); }) {}

ServerChild::~ServerChild() {
  kill(pid_, SIGTERM);
  {
    auto deadline = std::chrono::steady_clock::now() + absl::ToChronoSeconds(kEndTime);
    MutexLock lock(mutex_);
    while (!ended_ && std::chrono::steady_clock::now() < deadline) {
      changed_.WaitUntil(mutex_, deadline);
    }
  }
  kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  reader_.join();
  close(output_fd_);
}

std::string ServerChild::output() const {
  MutexLock lock(mutex_);
  return output_;
}

absl::Status ServerChild::WaitUntilReady(absl::Duration timeout) {
  auto deadline = std::chrono::steady_clock::now() + absl::ToChronoSeconds(timeout);
  MutexLock lock(mutex_);
  while (true) {
    // "ready: NAME on HOST:PORT", at the front of a line.
    size_t at =
        output_.starts_with(kReady) ? 0 : output_.find(absl::StrCat("\n", std::string(kReady)));
    size_t end = at == std::string::npos ? at : output_.find('\n', at + 1);
    if (end != std::string::npos) {
      std::string line = output_.substr(at, end - at);
      target_ = line.substr(line.rfind(' ') + 1);
      return absl::OkStatus();
    }
    if (ended_) return absl::FailedPreconditionError(LastLine(output_));
    if (std::chrono::steady_clock::now() >= deadline) {
      return absl::DeadlineExceededError(
          absl::StrCat("the server did not get ready within ", absl::FormatDuration(timeout)));
    }
    changed_.WaitUntil(mutex_, deadline);
  }
}

void ServerChild::ReadOutput() {
  std::array<char, 4096> bytes;
  while (true) {
    const ssize_t count = read(output_fd_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    MutexLock lock(mutex_);
    if (count <= 0) ended_ = true;
    if (count > 0) output_.append(bytes.data(), static_cast<size_t>(count));
    changed_.NotifyAll();
    if (count <= 0) return;
  }
}

}  // namespace tessera::client
