#include "server/executor/child_process.h"

#include <sched.h>
#include <signal.h>

#include <catch2/catch.hpp>
#include <future>

namespace tessera::server {
namespace {

constexpr std::chrono::seconds kHangLimit{60};

struct Child {
  // Of a shell; the rest of `options` is as given.
  explicit Child(std::vector<std::string> arguments, ChildProcessOptions options = {}) {
    options.program = "/bin/sh";
    options.arguments = std::move(arguments);
    options.name = "child";
    auto started =
        ChildProcess::Start(options, [this](absl::Status why) { lost.set_value(std::move(why)); });
    REQUIRE(started.ok());
    process = *std::move(started);
  }

  std::string WhyLost() {
    auto why = lost.get_future();
    REQUIRE(why.wait_for(kHangLimit) == std::future_status::ready);
    return std::string(why.get().message());
  }

  std::promise<absl::Status> lost;
  std::unique_ptr<ChildProcess> process;  // ends before what it tells
};

TEST_CASE("a program that is not there is not started") {
  ChildProcessOptions options{.program = "/nonexistent/tessera-worker"};
  const auto started = ChildProcess::Start(options, [](const absl::Status&) {});
  CHECK(absl::IsNotFound(started.status()));
  CHECK(started.status().message().find("/nonexistent/tessera-worker") != std::string::npos);
}

TEST_CASE("a child gets its secret, its environment, nothing to read and nothing else") {
  ChildProcessOptions options;
  options.environment = {"MARK=here"};
  options.secret = "s\n";
  Child child({"-c",
               "read secret <&4; [ \"$secret\" = s ] || exit 1; "
               "[ \"$MARK\" = here ] || exit 2; read line && exit 3; "
               "for fd in /proc/self/fd/*; do n=${fd##*/}; "
               "[ $n -le 4 ] || [ ! -e /proc/$$/fd/$n ] || exit 4; done; exit 9"},
              options);
  CHECK(child.WhyLost() == "ended with exit code 9");
}

TEST_CASE("a child runs on the cpus that it is given") {
  ChildProcessOptions options;
  options.cpus = {sched_getcpu()};
  const std::string line = "Cpus_allowed_list:." + std::to_string(options.cpus[0]);
  Child child({"-c", "grep -qx '" + line + "' /proc/self/status && exit 9"}, options);
  CHECK(child.WhyLost() == "ended with exit code 9");
}

// A shell that has begun another process with vfork cannot be stopped before that is another
// program, and that one, stopped with it, never is: so there is one process alone.
constexpr const char* kSleep = "exec sleep 600";

TEST_CASE("a child that ends, is killed or is stopped is told of") {
  CHECK(Child({"-c", "exit 5"}).WhyLost() == "ended with exit code 5");
  Child killed({"-c", kSleep});
  killed.process->Signal(SIGKILL);
  CHECK(killed.WhyLost() == "was killed by signal 9 (Killed)");
  Child stopped({"-c", kSleep});
  stopped.process->Signal(SIGSTOP);
  CHECK(stopped.WhyLost() == "was stopped by a signal");
}

TEST_CASE("a child may be stopped before it is another program") {
  for (int i = 0; i < 50; ++i) {
    Child child({"-c", kSleep});  // there before its program is
    kill(child.process->pid(), SIGSTOP);
    CHECK(child.WhyLost() == "was stopped by a signal");
  }
}

}  // namespace
}  // namespace tessera::server
