#include "server/app/list_kernels.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>

#include "server/app/exit_code.h"

namespace tessera::server {

int ListKernelSets() {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::string worker = (self.parent_path() / "tessera-worker").string();
  execl(worker.c_str(), worker.c_str(), "--kernels", "list", nullptr);
  std::fprintf(stderr, "tessera-server: %s: %s\n", worker.c_str(), std::strerror(errno));
  return kExitUsage;
}

}  // namespace tessera::server
