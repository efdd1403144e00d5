#include "shard_loader/io/isolated.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace tessera::shard_loader {
namespace {

constexpr rlim_t kSeconds = 60;  // of CPU time
// The end of an answer that came whole.
constexpr std::string_view kWhole = "whole\n";

absl::Status SystemError(const char* call) {
  return absl::ResourceExhaustedError(
      absl::StrCat("a process to read the file in cannot be made: ", call, ": ", strerror(errno)));
}

void Limit(int resource, rlim_t most) {
  const rlimit limit = {most, most + 1};  // the signal of the lower one says why it ended
  setrlimit(resource, &limit);
}

bool WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(count));
  }
  return true;
}

[[noreturn]] void Answer(int fd, absl::FunctionRef<std::string()> compute) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  Limit(RLIMIT_CORE, 0);
  Limit(RLIMIT_CPU, kSeconds);
  // How it ends is not for handlers to tell that were made for its parent.
  for (int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTERM, SIGINT, SIGHUP, SIGXCPU}) {
    signal(number, SIG_DFL);
  }
  const bool told = WriteAll(fd, compute()) && WriteAll(fd, kWhole);
  _exit(told ? 0 : 1);
}

// Up to `max_bytes` and one more.
std::string ReadAll(int fd, size_t max_bytes) {
  std::string bytes;
  std::array<char, 65536> part;
  while (bytes.size() <= max_bytes) {
    const ssize_t count = read(fd, part.data(), part.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    bytes.append(part.data(), static_cast<size_t>(count));
  }
  return bytes;
}

}  // namespace

absl::StatusOr<std::string> RunIsolated(size_t max_bytes,
                                        absl::FunctionRef<std::string()> compute) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return SystemError("pipe2");
  const pid_t child = fork();
  if (child == 0) Answer(ends[1], compute);
  close(ends[1]);
  if (child < 0) {
    const absl::Status error = SystemError("fork");
    close(ends[0]);
    return error;
  }
  std::string answer = ReadAll(ends[0], max_bytes + kWhole.size());
  close(ends[0]);
  if (answer.size() > max_bytes + kWhole.size()) kill(child, SIGKILL);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  if (answer.size() > max_bytes + kWhole.size()) {
    return absl::DataLossError("it has more entries than can be taken");
  }
  if (!answer.ends_with(kWhole)) {
    const bool slow = WIFSIGNALED(status) && (WTERMSIG(status) == SIGXCPU);
    return absl::DataLossError(slow ? "reading its headers takes more than a minute"
                                    : "the library that reads it crashed on it");
  }
  answer.resize(answer.size() - kWhole.size());
  return answer;
}

}  // namespace tessera::shard_loader
