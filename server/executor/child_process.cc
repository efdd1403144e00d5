#include "server/executor/child_process.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <utility>

#include <spdlog/spdlog.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "shard_loader/status_macros.h"

namespace tessera::server {
namespace {

// Above those that a child gets: laying them out there never overwrites one that is still needed.
constexpr int kFirstOwnFd = 16;
constexpr size_t kMaxLogLine = 8192;

absl::Status SystemError(const char* call) {
  return absl::ErrnoToStatus(errno, absl::StrCat("starting a worker: ", call));
}

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

absl::StatusOr<UniqueFd> MoveUp(int fd) {
  UniqueFd low(fd);
  UniqueFd high(fcntl(fd, F_DUPFD_CLOEXEC, kFirstOwnFd));
  if (!high.valid()) return SystemError("fcntl");
  return high;
}

absl::StatusOr<Pipe> MakePipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return SystemError("pipe2");
  Pipe result;
  UniqueFd write(ends[1]);
  ASSIGN_OR_RETURN(result.read, MoveUp(ends[0]));
  write = UniqueFd(fcntl(write.get(), F_DUPFD_CLOEXEC, kFirstOwnFd));
  if (!write.valid()) return SystemError("fcntl");
  result.write = std::move(write);
  return result;
}

// The read end of a pipe that already holds the secret.
absl::StatusOr<UniqueFd> SecretPipe(const std::string& secret) {
  ASSIGN_OR_RETURN(Pipe pipe, MakePipe());
  // At most 4 KB (proto/rpc/session_auth.h): a pipe takes it whole, and nobody has to read yet.
  if (write(pipe.write.get(), secret.data(), secret.size()) !=
      static_cast<ssize_t>(secret.size())) {
    return SystemError("write");
  }
  return std::move(pipe.read);
}

// What a child is made from. Everything is laid out before the fork: between that and exec only
// calls that are safe in a signal handler may be made, since other threads' locks stay as they
// were.
class SpawnSetup {
 public:
  explicit SpawnSetup(const ChildProcessOptions& options) : program_(options.program.c_str()) {
    arguments_.push_back(const_cast<char*>(program_));
    for (const auto& argument : options.arguments) {
      arguments_.push_back(const_cast<char*>(argument.c_str()));
    }
    arguments_.push_back(nullptr);
    for (const auto& entry : options.environment) {
      environment_.push_back(const_cast<char*>(entry.c_str()));
    }
    for (char** entry = environ; *entry != nullptr; ++entry) environment_.push_back(*entry);
    environment_.push_back(nullptr);
    CPU_ZERO(&cpus_);
    for (int cpu : options.cpus) CPU_SET(cpu, &cpus_);
  }

  // In ascending order of `as`; those above the last one are closed.
  void Give(int fd, int as) { given_.emplace_back(fd, as); }

  // Not posix_spawn: that keeps its caller waiting until the child is another program, and a child
  // that is stopped before would stop the server with it.
  absl::StatusOr<pid_t> Spawn() const {
    if (access(program_, X_OK) != 0) return CannotStart(errno);
    pid_t pid = _Fork();
    if (pid < 0) return CannotStart(errno);
    if (pid == 0) BecomeProgram();
    setpgid(pid, pid);  // the child does it too: whoever comes first
    return pid;
  }

 private:
  absl::Status CannotStart(int error) const {
    return absl::ErrnoToStatus(error, absl::StrCat("cannot start ", program_));
  }

  [[noreturn]] void BecomeProgram() const {
    // One that is stopped here does not outlive its server: it goes on, and finds its pipe closed.
    prctl(PR_SET_PDEATHSIG, SIGCONT);
    // A group of its own: Ctrl-C at a terminal is for the server alone, which then ends its
    // workers.
    setpgid(0, 0);
    // Before it has threads, so that all of them know it.
    if (CPU_COUNT(&cpus_) > 0) sched_setaffinity(0, sizeof(cpus_), &cpus_);
    for (int number = 1; number < NSIG; ++number) signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    const int nothing = open("/dev/null", O_RDONLY);
    if (nothing != STDIN_FILENO) dup2(nothing, STDIN_FILENO);
    for (auto [fd, as] : given_) dup2(fd, as);
    close_range(static_cast<unsigned>(given_.back().second) + 1, ~0U, 0);
    execve(program_, arguments_.data(), environment_.data());
    constexpr std::string_view kWhy = "error: the system does not start this program\n";
    [[maybe_unused]] const ssize_t told = write(STDERR_FILENO, kWhy.data(), kWhy.size());
    _exit(127);
  }

  const char* const program_;
  std::vector<char*> arguments_;
  std::vector<char*> environment_;
  std::vector<std::pair<int, int>> given_;
  cpu_set_t cpus_;
};

// Workers begin a line with its level ("warning: ..."); other output counts as information.
void LogLine(const std::string& name, std::string_view line) {
  constexpr std::pair<std::string_view, spdlog::level::level_enum> kLevels[] = {
      {"debug: ", spdlog::level::debug},
      {"info: ", spdlog::level::info},
      {"warning: ", spdlog::level::warn},
      {"error: ", spdlog::level::err}};
  for (const auto& [prefix, level] : kLevels) {
    if (!line.starts_with(prefix)) continue;
    spdlog::log(level, "{}: {}", name, line.substr(prefix.size()));
    return;
  }
  spdlog::info("{}: {}", name, line);
}

absl::Status HowItEnded(const siginfo_t& info) {
  if (info.si_code == CLD_EXITED) {
    return absl::UnavailableError(absl::StrCat("ended with exit code ", info.si_status));
  }
  return absl::UnavailableError(
      absl::StrCat("was killed by signal ", info.si_status, " (", strsignal(info.si_status), ")"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<ChildProcess>> ChildProcess::Start(
    const ChildProcessOptions& options, LostFunction on_lost) {
  ASSIGN_OR_RETURN(Pipe parent, MakePipe());
  ASSIGN_OR_RETURN(Pipe output, MakePipe());
  ASSIGN_OR_RETURN(UniqueFd secret, SecretPipe(options.secret));
  SpawnSetup setup(options);
  setup.Give(output.write.get(), STDOUT_FILENO);
  setup.Give(output.write.get(), STDERR_FILENO);
  setup.Give(parent.read.get(), kChildParentFd);
  setup.Give(secret.get(), kChildSecretFd);
  std::vector<UniqueFd> moved;
  for (auto [fd, as] :
       {std::pair(options.comm_fd, kChildCommFd), {options.image_fd, kChildImageFd}}) {
    if (fd < 0) continue;
    moved.emplace_back(fcntl(fd, F_DUPFD_CLOEXEC, kFirstOwnFd));
    if (!moved.back().valid()) return SystemError("fcntl");
    setup.Give(moved.back().get(), as);
  }
  ASSIGN_OR_RETURN(pid_t pid, setup.Spawn());
  return std::unique_ptr<ChildProcess>(new ChildProcess(
      pid, std::move(parent.write), std::move(output.read), options.name, std::move(on_lost)));
}

ChildProcess::ChildProcess(pid_t pid, UniqueFd parent_pipe, UniqueFd output, std::string name,
                           LostFunction on_lost)
    : pid_(pid),
      parent_pipe_(std::move(parent_pipe)),
      output_(std::move(output)),
      name_(std::move(name)),
      on_lost_(std::move(on_lost)),
      watch_([this] { Watch(); }),
      copy_([this] { CopyOutput(); }) {}

ChildProcess::~ChildProcess() {
  Signal(SIGKILL);
  watch_.join();
  // Ends with the last process that holds the other end, which was killed with its group.
  copy_.join();
}

void ChildProcess::Signal(int number) {
  MutexLock lock(mutex_);
  // Until it is reaped nobody else can have its number.
  if (!reaped_) kill(-pid_, number);
}

bool ChildProcess::WaitForExit(absl::Duration timeout) {
  auto deadline = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(timeout);
  MutexLock lock(mutex_);
  while (!reaped_ && std::chrono::steady_clock::now() < deadline) {
    changed_.WaitUntil(mutex_, deadline);
  }
  return reaped_;
}

void ChildProcess::Watch() {
  while (true) {
    siginfo_t info = {};
    if (waitid(P_PID, pid_, &info, WEXITED | WSTOPPED | WNOWAIT) != 0) {
      if (errno == EINTR) continue;
      info.si_code = CLD_EXITED;  // someone else has reaped it
    }
    if (info.si_code == CLD_STOPPED) {
      waitid(P_PID, pid_, &info, WSTOPPED | WNOHANG);
      Lost(absl::UnavailableError("was stopped by a signal"));
      continue;
    }
    {
      MutexLock lock(mutex_);
      kill(-pid_, SIGKILL);  // what it has started itself; before its number is free again
      waitid(P_PID, pid_, &info, WEXITED | WNOHANG);
      reaped_ = true;
      changed_.NotifyAll();
    }
    Lost(HowItEnded(info));
    return;
  }
}

void ChildProcess::CopyOutput() {
  std::string line;
  std::array<char, 4096> bytes;
  while (true) {
    ssize_t count = read(output_.get(), bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    for (char c : std::string_view(bytes.data(), static_cast<size_t>(count))) {
      if (c != '\n' && line.size() < kMaxLogLine) line += c;
      if (c != '\n') continue;
      LogLine(name_, line);
      line.clear();
    }
  }
  if (!line.empty()) LogLine(name_, line);
}

void ChildProcess::Lost(absl::Status why) {
  if (LostFunction told = std::exchange(on_lost_, nullptr)) told(std::move(why));
}

}  // namespace tessera::server
