#include "worker/app/launcher.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <system_error>

namespace tessera::worker {
namespace {

constexpr int kGraceMs = 4000;
constexpr int kNotFound = 127;  // as a shell says it

int ExitCode(int status) {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// Signals of which the list is waited for rather than caught.
sigset_t Waited() {
  sigset_t set;
  sigemptyset(&set);
  for (int number : {SIGTERM, SIGINT, SIGCHLD}) sigaddset(&set, number);
  return set;
}

pid_t Start(char** arguments) {
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  pid_t pid = -1;
  int error = posix_spawnp(&pid, arguments[0], nullptr, &attributes, arguments, environ);
  posix_spawnattr_destroy(&attributes);
  if (error == 0) return pid;
  fprintf(stderr, "error: cannot start %s: %s\n", arguments[0], strerror(error));
  return -1;
}

int WaitFor(pid_t pid, int signal_fd, int parent_fd) {
  bool ending = false;
  while (true) {
    std::array<pollfd, 2> fds = {pollfd{signal_fd, POLLIN, 0},
                                 pollfd{ending ? -1 : parent_fd, POLLIN, 0}};
    int ready = poll(fds.data(), fds.size(), ending ? kGraceMs : -1);
    if (ready < 0 && errno != EINTR) return 1;
    if (ready == 0) kill(pid, SIGKILL);
    bool told = fds[1].revents != 0;
    signalfd_siginfo info = {};
    if (fds[0].revents != 0 && read(signal_fd, &info, sizeof(info)) == sizeof(info)) {
      told |= info.ssi_signo != SIGCHLD;
    }
    if (told && !ending) kill(pid, SIGTERM);
    ending |= told;
    int status = 0;
    if (waitpid(pid, &status, WNOHANG) == pid) return ExitCode(status);
  }
}

}  // namespace

int Launch(const LauncherOptions& options, char** arguments) {
  sigset_t waited = Waited();
  pthread_sigmask(SIG_BLOCK, &waited, nullptr);
  signal(SIGPIPE, SIG_IGN);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  int signal_fd = signalfd(-1, &waited, SFD_CLOEXEC);
  pid_t pid = Start(arguments);
  if (pid < 0) return kNotFound;
  int code = WaitFor(pid, signal_fd, options.parent_fd);
  std::error_code ignored;
  std::filesystem::remove_all(options.folder, ignored);
  return code;
}

}  // namespace tessera::worker
