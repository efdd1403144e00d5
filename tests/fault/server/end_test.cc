// How a server ends, under load: drained, cut off, at once, or killed; and what it leaves behind.
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <cstdlib>

#include "tests/fault/server/load.h"
#include "tests/support/process.h"

namespace tessera::tests {
namespace {

// The folder for sockets is the test's own, so that what is left in it can be seen.
class OwnRuntimeDir {
 public:
  OwnRuntimeDir() {
    setenv("TMPDIR", dir_.path().c_str(), 1);
    unsetenv("XDG_RUNTIME_DIR");
  }
  ~OwnRuntimeDir() { unsetenv("TMPDIR"); }
  bool empty() const { return std::filesystem::is_empty(dir_.path()); }

 private:
  TempDir dir_;
};

std::vector<int> Watch(const v1::ServerStatus& status) {
  std::vector<int> pidfds;
  for (const auto& rank : status.groups(0).ranks()) {
    pidfds.push_back(static_cast<int>(syscall(SYS_pidfd_open, rank.pid(), 0)));
  }
  return pidfds;
}

bool AllEnded(std::vector<int> pidfds) {
  bool all = !pidfds.empty();
  for (int pidfd : pidfds) {
    pollfd ended = {pidfd, POLLIN, 0};
    all = all && pidfd >= 0 && poll(&ended, 1, /*timeout=*/10000) == 1;
    close(pidfd);
  }
  return all;
}

TEST_CASE("SIGTERM under load lets the running requests end and leaves nothing behind") {
  OwnRuntimeDir runtime;
  Server server({"--model", DemoModel().string(), "--tp", "2"});
  Api api(server.target());
  auto workers = Watch(api.Status());
  Load load(api, 8, 300);
  CHECK(server.Stop() == 0);
  for (const Reply& reply : load.Wait()) {
    CHECK(reply.status.ok());
    CHECK(reply.ids.size() == 300);
  }
  CHECK(AllEnded(workers));
  CHECK(runtime.empty());
}

TEST_CASE("what still runs at the drain timeout is cut off with UNAVAILABLE") {
  OwnRuntimeDir runtime;
  Server server({"--model", DemoModel().string(), "--drain-timeout", "0.05"});
  Api api(server.target());
  Load load(api, 4, 1000);
  CHECK(server.Stop() == 0);
  for (const Reply& reply : load.Wait()) {
    CHECK(reply.status.error_code() == grpc::StatusCode::UNAVAILABLE);
    CHECK(reply.ids.size() < 1000);
  }
  CHECK(runtime.empty());
}

TEST_CASE("a second signal ends the server at once") {
  OwnRuntimeDir runtime;
  Server server({"--model", DemoModel().string(), "--tp", "2", "--drain-timeout", "3600"});
  Api api(server.target());
  auto workers = Watch(api.Status());
  Load load(api, 4, 1000);
  server.process().Signal(SIGTERM);
  REQUIRE(server.process().WaitForLine("draining"));
  server.process().Signal(SIGTERM);
  CHECK(server.process().WaitForExit() == 128 + SIGTERM);
  load.Wait();
  CHECK(AllEnded(workers));
  CHECK(runtime.empty());
}

TEST_CASE("the children of a killed server end with it, and their sockets go") {
  OwnRuntimeDir runtime;
  Server server({"--model", DemoModel().string(), "--tp", "2"});
  Api api(server.target());
  auto workers = Watch(api.Status());
  Load load(api, 4, 1000);
  server.process().Signal(SIGKILL);
  CHECK(server.process().WaitForExit() == 128 + SIGKILL);
  for (const Reply& reply : load.Wait()) {
    CHECK(reply.status.error_code() == grpc::StatusCode::UNAVAILABLE);
  }
  CHECK(AllEnded(workers));
  CHECK(runtime.empty());
}

}  // namespace
}  // namespace tessera::tests
