#include "worker/app/cache_folder.h"

#include <stdlib.h>

#include <filesystem>

namespace tessera::worker {

std::string CacheFolder(const std::string& flag) {
  if (flag == "none") return "";
  if (!flag.empty()) return flag;
  const char* base = getenv("XDG_CACHE_HOME");
  if (base != nullptr && std::filesystem::path(base).is_absolute()) {
    return (std::filesystem::path(base) / "tessera").string();
  }
  const char* home = getenv("HOME");
  if (home == nullptr || !std::filesystem::path(home).is_absolute()) return "";
  return (std::filesystem::path(home) / ".cache" / "tessera").string();
}

}  // namespace tessera::worker
