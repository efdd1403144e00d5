// The server is killed: nothing of its group may stay.
#include <catch2/catch.hpp>

#include <signal.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "tests/integration/session/group_harness.h"
#include "tests/support/fixtures.h"
#include "tests/support/process.h"

namespace tessera::tests {
namespace {

// Processes with `text` in their command line; zombies have none.
std::vector<int> ProcessesNaming(const std::string& text) {
  std::vector<int> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream file(entry.path() / "cmdline", std::ios::binary);
    std::string line(std::istreambuf_iterator<char>(file), {});
    if (line.find(text) != std::string::npos) found.push_back(std::stoi(name));
  }
  return found;
}

// True once no process names `dir` and no file is in it; false where some still are after 10 s.
bool BecomesEmpty(const std::filesystem::path& dir) {
  auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!ProcessesNaming(dir).empty() || !std::filesystem::is_empty(dir)) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return true;
}

TEST_CASE("kill -9 of the server ends its ready workers, and leaves no file") {
  TempDir dir;
  Process holder(TESSERA_GROUP_HOLDER, {dir.path(), "shm"});
  REQUIRE(holder.WaitForLine("ready"));
  CHECK(ProcessesNaming(dir.path()).size() == 3);
  holder.Signal(SIGKILL);
  CHECK(BecomesEmpty(dir.path()));
}

TEST_CASE("kill -9 of the server ends a worker that was stopped before") {
  TempDir dir;
  Process holder(TESSERA_GROUP_HOLDER, {dir.path(), "shm"});
  REQUIRE(holder.WaitForLine("ready"));
  std::vector<int> processes = ProcessesNaming(dir.path());
  // Both at once: before the server has ended the stopped one itself.
  for (int pid : processes) {
    if (pid != holder.pid()) kill(pid, SIGSTOP);
  }
  holder.Signal(SIGKILL);
  CHECK(BecomesEmpty(dir.path()));
}

TEST_CASE("kill -9 of the server while its workers start leaves no process, socket or folder") {
  TempDir dir;
  Process holder(TESSERA_GROUP_HOLDER, {dir.path(), "shm"});
  REQUIRE(holder.WaitForLine("listening on"));
  holder.Signal(SIGKILL);
  CHECK(BecomesEmpty(dir.path()));
}

TEST_CASE("kill -9 of the server ends mpirun and its ranks") {
  NeedComm("mpi");
  TempDir dir;
  Process holder(TESSERA_GROUP_HOLDER, {dir.path(), "mpi"});
  REQUIRE(holder.WaitForLine("ready"));
  holder.Signal(SIGKILL);
  CHECK(BecomesEmpty(dir.path()));
}

}  // namespace
}  // namespace tessera::tests
