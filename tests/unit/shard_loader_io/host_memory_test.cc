#include "shard_loader/io/host_memory.h"

#include <fstream>

#include <catch2/catch.hpp>

#include "tests/support/fixtures.h"

namespace tessera::shard_loader {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMiB = 1 << 20;

// A tree that looks like / to ReadHostMemory; the host has 1,000 MiB, 600 of them available.
class Root {
 public:
  Root() {
    Write("proc/meminfo", "MemTotal: 1024000 kB\nMemFree: 1 kB\nMemAvailable: 614400 kB\n");
  }
  void Write(const std::string& path, const std::string& text) {
    fs::create_directories((folder_.path() / path).parent_path());
    std::ofstream(folder_.path() / path) << text;
  }
  HostMemory Read() const { return ReadHostMemory(folder_.path()).value(); }

 private:
  tests::TempDir folder_;
};

TEST_CASE("without a limit the host's available memory counts") {
  Root root;
  root.Write("proc/self/cgroup", "0::/user.slice\n");
  root.Write("sys/fs/cgroup/user.slice/memory.max", "max\n");
  const HostMemory memory = root.Read();
  CHECK(memory.total == 1000 * kMiB);
  CHECK(memory.available == 600 * kMiB);
  CHECK(memory.limit == "host");
  CHECK(memory.usable() == 600 * kMiB - 600 * kMiB / 16);
}

TEST_CASE("the limit of a cgroup v2 counts, less what is used and not reclaimable") {
  Root root;
  root.Write("proc/self/cgroup", "0::/a/b\n");
  root.Write("sys/fs/cgroup/a/b/memory.max", std::to_string(300 * kMiB));
  root.Write("sys/fs/cgroup/a/b/memory.current", std::to_string(120 * kMiB));
  root.Write("sys/fs/cgroup/a/b/memory.stat",
             "anon 1\ninactive_file " + std::to_string(20 * kMiB) + "\n");
  const HostMemory memory = root.Read();
  CHECK(memory.total == 300 * kMiB);
  CHECK(memory.available == 200 * kMiB);
  CHECK(memory.limit == "cgroup v2 /a/b");
}

TEST_CASE("a cgroup above ours may be the tighter one") {
  Root root;
  root.Write("proc/self/cgroup", "0::/a/b\n");
  root.Write("sys/fs/cgroup/a/b/memory.max", std::to_string(300 * kMiB));
  root.Write("sys/fs/cgroup/a/b/memory.current", "0");
  root.Write("sys/fs/cgroup/a/memory.max", std::to_string(400 * kMiB));
  root.Write("sys/fs/cgroup/a/memory.current", std::to_string(350 * kMiB));
  const HostMemory memory = root.Read();
  CHECK(memory.available == 50 * kMiB);
  CHECK(memory.limit == "cgroup v2 /a");
}

TEST_CASE("in a container the limit stands at the top of the mount") {
  Root root;
  root.Write("proc/self/cgroup", "0::/not/visible/here\n");
  root.Write("sys/fs/cgroup/memory.max", std::to_string(100 * kMiB));
  root.Write("sys/fs/cgroup/memory.current", std::to_string(40 * kMiB));
  CHECK(root.Read().available == 60 * kMiB);
}

TEST_CASE("the limit of a cgroup v1 counts, and its largest number means none") {
  Root root;
  root.Write("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/docker/1\n0::/\n");
  root.Write("sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "9223372036854771712");
  CHECK(root.Read().limit == "host");
  root.Write("sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", std::to_string(80 * kMiB));
  root.Write("sys/fs/cgroup/memory/docker/1/memory.usage_in_bytes", std::to_string(30 * kMiB));
  const HostMemory memory = root.Read();
  CHECK(memory.available == 50 * kMiB);
  CHECK(memory.limit == "cgroup v1 /docker/1");
}

TEST_CASE("a limit that is used up leaves nothing, not less") {
  Root root;
  root.Write("proc/self/cgroup", "0::/a\n");
  root.Write("sys/fs/cgroup/a/memory.max", "1000");
  root.Write("sys/fs/cgroup/a/memory.current", "5000");
  CHECK(root.Read().available == 0);
}

TEST_CASE("paths that climb out of the mount do not") {
  Root root;
  root.Write("proc/self/cgroup", "0::/../../etc\n");
  CHECK(root.Read().limit == "host");
}

TEST_CASE("a system without meminfo is named as such") {
  tests::TempDir empty;
  CHECK(ReadHostMemory(empty.path()).status().code() == absl::StatusCode::kUnimplemented);
  CHECK(ReadHostMemory().value().available > 0);
}

}  // namespace
}  // namespace tessera::shard_loader
