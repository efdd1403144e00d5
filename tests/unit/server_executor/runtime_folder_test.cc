#include "server/executor/runtime_folder.h"

#include <catch2/catch.hpp>

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "tests/support/fixtures.h"

namespace tessera::server {
namespace {

namespace fs = std::filesystem;

// The id of a process that is gone.
pid_t GonePid() {
  pid_t pid = fork();
  if (pid == 0) _exit(0);
  waitpid(pid, nullptr, 0);
  return pid;
}

TEST_CASE("a runtime folder is private, and goes with everything in it") {
  tests::TempDir parent;
  std::string path;
  {
    auto folder = RuntimeFolder::Create(parent.path());
    REQUIRE(folder.ok());
    path = (*folder)->path();
    struct stat info;
    REQUIRE(stat(path.c_str(), &info) == 0);
    CHECK((info.st_mode & 0777) == 0700);
    REQUIRE((*folder)->Write("secret", "abc").ok());
    REQUIRE(stat((path + "/secret").c_str(), &info) == 0);
    CHECK((info.st_mode & 0777) == 0600);
    CHECK((*folder)->SocketPath("3") == path + "/3.sock");
  }
  CHECK_FALSE(fs::exists(path));
}

TEST_CASE(
    "folders of servers that are gone are removed, those of living ones and others' are not") {
  tests::TempDir parent;
  fs::path gone = parent.path() / ("tessera-" + std::to_string(GonePid()) + "-abcdef");
  fs::path living = parent.path() / ("tessera-" + std::to_string(getpid()) + "-abcdef");
  fs::path other = parent.path() / "tessera-notes";
  for (const fs::path& path : {gone, living, other}) fs::create_directory(path);
  REQUIRE(RuntimeFolder::Create(parent.path()).ok());
  CHECK_FALSE(fs::exists(gone));
  CHECK(fs::exists(living));
  CHECK(fs::exists(other));
}

TEST_CASE("a runtime folder whose sockets' paths would be too long is refused") {
  tests::TempDir parent;
  fs::path deep = parent.path() / std::string(80, 'x');
  fs::create_directory(deep);
  CHECK(absl::IsFailedPrecondition(RuntimeFolder::Create(deep).status()));
}

}  // namespace
}  // namespace tessera::server
