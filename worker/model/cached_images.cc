#include "worker/model/cached_images.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "shard_loader/status_macros.h"

namespace tessera::worker {
namespace {

// By several threads: one does not use the whole bandwidth of memory, or of a fast disk.
void Copy(const std::byte* from, int64_t bytes, std::byte* to) {
  const int64_t threads = std::clamp<int64_t>(std::thread::hardware_concurrency(), 1, 8);
  const int64_t part = (bytes + threads - 1) / threads;
  std::vector<std::thread> helpers;
  for (int64_t begin = 0; begin < bytes; begin += part) {
    const auto size = static_cast<size_t>(std::min(part, bytes - begin));
    helpers.emplace_back([=] { std::memcpy(to + begin, from + begin, size); });
  }
  for (std::thread& helper : helpers) helper.join();
}

}  // namespace

void CachedImages::Finish() {
  if (writer_.joinable()) writer_.join();
}

absl::StatusOr<Buffer> CachedImages::Find(const ImageKey& key) {
  ASSIGN_OR_RETURN(Buffer held, memory_->Find(key));
  if (held.size() > 0) return held;
  Finish();
  const absl::StatusOr<Buffer> file = files_.Find(key);
  if (!file.ok() || file->size() == 0) return Buffer();
  ASSIGN_OR_RETURN(Buffer image, memory_->Make(key));
  Copy(file->data(), key.bytes, image.data());
  tell_(false, absl::StrCat("the packed weights come from ", files_.PathOf(key).string()));
  return memory_->Keep(key, std::move(image));
}

absl::StatusOr<Buffer> CachedImages::Make(const ImageKey& key) { return memory_->Make(key); }

void CachedImages::Write(const ImageKey& key, const Buffer& image) {
  absl::StatusOr<Buffer> file = files_.Make(key);
  if (file.ok()) {
    std::memcpy(file->data(), image.data(), static_cast<size_t>(key.bytes));
    file = files_.Keep(key, *std::move(file));
  }
  if (file.ok()) return;
  tell_(true,
        absl::StrCat("the packed weights are not cached: ", std::string(file.status().message())));
}

absl::StatusOr<Buffer> CachedImages::Keep(const ImageKey& key, Buffer image) {
  Finish();
  ASSIGN_OR_RETURN(Buffer kept, memory_->Keep(key, std::move(image)));
  // The writer's own mapping, since the rank may be gone before it is done.
  ASSIGN_OR_RETURN(Buffer source, memory_->Find(key));
  if (source.size() == 0) return kept;  // memory that nobody finds again cannot be shared with it
  auto shared = std::make_shared<Buffer>(std::move(source));  // with the thread
  writer_ = std::thread([this, key, shared] { Write(key, *shared); });
  return kept;
}

}  // namespace tessera::worker
