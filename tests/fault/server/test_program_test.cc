// A test program that crashes: what it has started must not stay on the machine.
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "tests/support/process.h"

namespace tessera::tests {
namespace {

// Starts a program that goes on for long, tells its process, and crashes.
[[noreturn]] void StartAndCrash(int tell) {
  Process sleeper("/bin/sleep", {"1000"});
  const pid_t pid = sleeper.pid();
  [[maybe_unused]] const ssize_t told = write(tell, &pid, sizeof pid);
  kill(getpid(), SIGKILL);
  _exit(1);
}

TEST_CASE("what a test program has started ends with it, also where that crashes") {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t crashing = fork();
  if (crashing == 0) StartAndCrash(ends[1]);
  pid_t sleeper = 0;
  REQUIRE(read(ends[0], &sleeper, sizeof sleeper) == sizeof sleeper);
  int status = 0;
  REQUIRE(waitpid(crashing, &status, 0) == crashing);
  REQUIRE(WIFSIGNALED(status));
  // None where it is gone already.
  const int pidfd = static_cast<int>(syscall(SYS_pidfd_open, sleeper, 0));
  if (pidfd >= 0) {
    pollfd ended = {pidfd, POLLIN, 0};
    CHECK(poll(&ended, 1, static_cast<int>(kHangLimit.count() * 1000)) == 1);
    kill(sleeper, SIGKILL);
  }
  close(pidfd);
  close(ends[0]);
  close(ends[1]);
}

TEST_CASE("a program that is not there cannot be started, and says so") {
  CHECK_THROWS_WITH(Process("/nonexistent/program", {}),
                    Catch::Contains("/nonexistent/program: No such file"));
}

}  // namespace
}  // namespace tessera::tests
