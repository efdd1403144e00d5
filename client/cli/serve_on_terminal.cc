#include "client/cli/serve_on_terminal.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "client/cli/load_watcher.h"
#include "client/cli/terminal.h"
#include "shard_loader/status_macros.h"

namespace tessera::client {
namespace {

constexpr int kRedrawMs = 100;
constexpr std::string_view kListening = "listening on ";
constexpr std::string_view kReady = "\nready: ";

// A signal handler reaches nothing but globals.
std::atomic<pid_t> g_child{-1};

void Forward(int signal) { kill(g_child, signal); }

// Ctrl-C reaches the child by itself, as a member of the terminal's foreground group.
void HandOnSignals(pid_t child) {
  g_child = child;
  struct sigaction action {};
  action.sa_handler = Forward;
  action.sa_flags = SA_RESTART;
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGHUP, &action, nullptr);
  signal(SIGINT, SIG_IGN);
  signal(SIGQUIT, SIG_IGN);
}

// Only what a forked child may call: exec follows, or the end.
[[noreturn]] void BecomeServer(char* const* argv, int output, bool take_stdout) {
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (take_stdout) dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  execv(argv[0], argv);
  _exit(127);
}

// Hands on the child's lines, the bar always below them.
class OutputBelowBar {
 public:
  explicit OutputBelowBar(const Context& context)
      : out_(context.io.err), bar_(context.io.err, true, context.io.columns) {}

  void Add(std::string_view bytes) {
    pending_ += bytes;
    const size_t end = pending_.rfind('\n');
    if (end == std::string::npos) return;
    LookAtLines("\n" + pending_.substr(0, end));
    bar_.Clear();
    out_ << pending_.substr(0, end + 1) << std::flush;
    pending_.erase(0, end + 1);
  }

  void Redraw() {
    if (watcher_ == nullptr) return;
    const LoadProgress progress = watcher_->progress();
    if (!progress.over) {
      bar_.Show(progress.fraction, progress.what);
    } else {
      bar_.Clear();
      watcher_.reset();
    }
  }

  void End() {
    bar_.Clear();
    out_ << pending_ << std::flush;
    pending_.clear();
  }

 private:
  // What the server says of itself: where it listens, and that it is ready.
  void LookAtLines(const std::string& lines) {
    if (lines.find(kReady) != std::string::npos) watcher_.reset();
    const size_t at = lines.find(kListening);
    if (found_ || at == std::string::npos) return;
    found_ = true;
    std::string address = lines.substr(at + kListening.size());
    address = address.substr(0, address.find_first_of(" \"\n"));
    // What listens everywhere is reached on the loopback.
    if (address.rfind("0.0.0.0:", 0) == 0) address.replace(0, 7, "127.0.0.1");
    watcher_ = std::make_unique<LoadWatcher>(address);
  }

  std::ostream& out_;
  ProgressBar bar_;
  std::string pending_;  // an unfinished line
  bool found_ = false;
  std::unique_ptr<LoadWatcher> watcher_;
};

void HandOnOutput(int input, const Context& context) {
  OutputBelowBar output(context);
  std::array<char, 4096> buffer;
  while (true) {
    pollfd polled{input, POLLIN, 0};
    const int ready = poll(&polled, 1, kRedrawMs);
    if (ready > 0) {
      const ssize_t count = read(input, buffer.data(), buffer.size());
      if (count == 0 || (count < 0 && errno != EINTR)) break;
      if (count > 0) output.Add({buffer.data(), static_cast<size_t>(count)});
    }
    output.Redraw();
  }
  output.End();
}

}  // namespace

absl::StatusOr<int> ServeOnTerminal(const std::vector<std::string>& argv, const Context& context) {
  std::vector<char*> arguments;
  for (const std::string& argument : argv) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return absl::ResourceExhaustedError(absl::StrCat("cannot make a pipe: ", strerror(errno)));
  }
  const pid_t child = fork();
  if (child == 0) BecomeServer(arguments.data(), ends[1], context.io.out_is_terminal);
  close(ends[1]);
  if (child < 0) {
    close(ends[0]);
    return absl::ResourceExhaustedError(absl::StrCat("cannot fork: ", strerror(errno)));
  }
  HandOnSignals(child);
  HandOnOutput(ends[0], context);
  close(ends[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace tessera::client
