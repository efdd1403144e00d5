#include "client/cli/machine.h"

#include <sched.h>

#include <fstream>
#include <optional>
#include <sstream>

namespace tessera::client {
namespace {

namespace fs = std::filesystem;

std::string FirstLine(const fs::path& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

void ReadCpuInfo(const fs::path& root, Processors& out) {
  std::ifstream in(root / "proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("processor", 0) == 0) ++out.online;
    if (out.model.empty() && line.rfind("model name", 0) == 0) {
      const size_t colon = line.find(": ");
      if (colon != std::string::npos) out.model = line.substr(colon + 2);
    }
  }
}

int UsableProcessors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 0;
  return CPU_COUNT(&set);
}

// cgroup v2: cpu.max holds "QUOTA PERIOD" or "max PERIOD"; v1: cpu.cfs_quota_us (-1: none) and
// cpu.cfs_period_us (Documentation/admin-guide/cgroup-v2.rst and cgroup-v1 of Linux).
std::optional<double> QuotaOf(const fs::path& dir) {
  double quota = 0.0, period = 0.0;
  std::istringstream v2(FirstLine(dir / "cpu.max"));
  if (v2 >> quota >> period && quota > 0 && period > 0) return quota / period;
  std::istringstream v1_quota(FirstLine(dir / "cpu.cfs_quota_us"));
  std::istringstream v1_period(FirstLine(dir / "cpu.cfs_period_us"));
  if (v1_quota >> quota && v1_period >> period && quota > 0 && period > 0) return quota / period;
  return std::nullopt;
}

// The tightest limit of a cgroup ("/a/b") and of all above it.
void Tighten(const fs::path& mount, const fs::path& group, double& quota) {
  for (fs::path dir = group.relative_path();; dir = dir.parent_path()) {
    const auto found = QuotaOf(mount / dir);
    if (found && (quota == 0.0 || *found < quota)) quota = *found;
    if (dir.empty()) return;
  }
}

double ReadQuota(const fs::path& root) {
  double quota = 0.0;
  std::ifstream groups(root / "proc/self/cgroup");
  // ID:CONTROLLERS:PATH; version 2 has no controllers.
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string group = line.substr(second + 1);
    if (controllers == ",,") {
      Tighten(root / "sys/fs/cgroup", group, quota);
    } else if (controllers.find(",cpu,") != std::string::npos) {
      Tighten(root / "sys/fs/cgroup/cpu", group, quota);
    }
  }
  return quota;
}

}  // namespace

Processors ReadProcessors(const std::filesystem::path& root) {
  Processors out;
  ReadCpuInfo(root, out);
  out.usable = UsableProcessors();
  out.quota = ReadQuota(root);
  return out;
}

}  // namespace tessera::client
