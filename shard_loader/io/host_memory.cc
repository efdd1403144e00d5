#include "shard_loader/io/host_memory.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <sstream>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace tessera::shard_loader {
namespace {

namespace fs = std::filesystem;

// Version 1 shows "no limit" as the largest multiple of a page.
constexpr int64_t kNoLimit = int64_t{1} << 60;

std::optional<std::string> ReadWord(const fs::path& path) {
  std::ifstream file(path);
  std::string word;
  if (!(file >> word)) return std::nullopt;
  return word;
}

// The number in a file; none where it is absent, "max" or no number.
std::optional<int64_t> ReadNumber(const fs::path& path) {
  const auto word = ReadWord(path);
  int64_t number = 0;
  if (!word || !absl::SimpleAtoi(*word, &number) || number < 0) return std::nullopt;
  return number;
}

// The number behind `key` in a file of "key number" lines.
std::optional<int64_t> ReadField(const fs::path& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string name;
    int64_t number = 0;
    if (words >> name >> number && name == key) return number;
  }
  return std::nullopt;
}

// The files in which a cgroup version keeps its limits.
struct CgroupFiles {
  const char* version;
  const char* mount;  // below the root
  std::vector<const char*> limits;
  const char* usage;
  const char* reclaimable;  // in memory.stat
};

const CgroupFiles kVersion2{
    "v2", "sys/fs/cgroup", {"memory.max", "memory.high"}, "memory.current", "inactive_file"};
const CgroupFiles kVersion1{"v1",
                            "sys/fs/cgroup/memory",
                            {"memory.limit_in_bytes"},
                            "memory.usage_in_bytes",
                            "total_inactive_file"};

void Tighten(const CgroupFiles& files, const fs::path& folder, const std::string& name,
             HostMemory& memory) {
  for (const char* file : files.limits) {
    const auto limit = ReadNumber(folder / file);
    if (!limit || *limit >= kNoLimit) continue;
    const int64_t usage = ReadNumber(folder / files.usage).value_or(0);
    const int64_t cache = ReadField(folder / "memory.stat", files.reclaimable).value_or(0);
    const int64_t rest =
        std::max<int64_t>(0, *limit - std::max<int64_t>(0, usage - std::min(cache, usage)));
    memory.total = std::min(memory.total, *limit);
    if (rest < memory.available) {
      memory.available = rest;
      memory.limit = absl::StrCat("cgroup ", files.version, " ", name);
    }
  }
}

// `group`: our path as /proc/self/cgroup gives it; its ancestors count too. In a container that
// path is often not visible; the mount's own files are its limits then.
void Walk(const CgroupFiles& files, const fs::path& root, const std::string& group,
          HostMemory& memory) {
  const fs::path mount = root / files.mount;
  fs::path path = fs::path(group).lexically_normal();
  while (path.has_relative_path() && path != path.root_path()) {
    Tighten(files, mount / path.relative_path(), path.string(), memory);
    path = path.parent_path();
  }
  Tighten(files, mount, "/", memory);
}

}  // namespace

int64_t HostMemory::usable() const {
  return available - std::min<int64_t>(available / 16, int64_t{1} << 30);
}

absl::StatusOr<HostMemory> ReadHostMemory(const fs::path& root) {
  const auto total = ReadField(root / "proc/meminfo", "MemTotal:");
  const auto available = ReadField(root / "proc/meminfo", "MemAvailable:");
  if (!total || !available) {
    return absl::UnimplementedError(absl::StrCat("shard_loader: ", (root / "proc/meminfo").string(),
                                                 " has no MemTotal and MemAvailable"));
  }
  HostMemory memory{*total * 1024, *available * 1024, "host"};
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    // "ID:CONTROLLERS:PATH"; version 2 has ID 0 and no controllers.
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string path = line.substr(second + 1);
    if (controllers == ",,") Walk(kVersion2, root, path, memory);
    if (controllers.find(",memory,") != std::string::npos) Walk(kVersion1, root, path, memory);
  }
  return memory;
}

}  // namespace tessera::shard_loader
