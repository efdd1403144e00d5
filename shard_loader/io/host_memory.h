// How much memory this host can still give to us, within the limits of our cgroup.
#ifndef TESSERA_SHARD_LOADER_IO_HOST_MEMORY_H_
#define TESSERA_SHARD_LOADER_IO_HOST_MEMORY_H_

#include <cstdint>
#include <filesystem>
#include <string>

#include "absl/status/statusor.h"

namespace tessera::shard_loader {

struct HostMemory {
  int64_t total = 0;      // of the host, or the tightest limit
  int64_t available = 0;  // without swapping: free, and what the page cache would give back
  std::string limit;      // "host", "cgroup v2 /a/b", "cgroup v1 /a/b": what decides `available`

  // What a model may take: a sixteenth, at most 1 GiB, is left to the rest of the system.
  int64_t usable() const;
};

// Linux: /proc/meminfo, and the limits of our cgroup and of all above it, version 2 and 1. `root`
// stands before every path, for tests. UNIMPLEMENTED where /proc/meminfo does not say.
absl::StatusOr<HostMemory> ReadHostMemory(const std::filesystem::path& root = "/");

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_IO_HOST_MEMORY_H_
