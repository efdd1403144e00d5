#include "worker/app/cached_images.h"

#include <stdlib.h>

#include <filesystem>
#include <utility>

#include <spdlog/spdlog.h>

namespace tessera::worker {

absl::StatusOr<Buffer> CachedImages::Find(const ImageKey& key) {
  absl::StatusOr<Buffer> image = files_.Find(key);
  if (image.ok() && image->size() > 0) {
    spdlog::info("the packed weights are mapped from {}", files_.PathOf(key).string());
    return image;
  }
  return memory_->Find(key);
}

absl::StatusOr<Buffer> CachedImages::Make(const ImageKey& key) {
  absl::StatusOr<Buffer> image = files_.Make(key);
  in_memory_ = !image.ok();
  if (!in_memory_) return image;
  spdlog::warn("the packed weights are not cached: {}", std::string(image.status().message()));
  return memory_->Make(key);
}

absl::StatusOr<Buffer> CachedImages::Keep(const ImageKey& key, Buffer image) {
  return in_memory_ ? memory_->Keep(key, std::move(image)) : files_.Keep(key, std::move(image));
}

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
