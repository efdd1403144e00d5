// Where a worker keeps its packed weights: in the cache folder, else in memory.
#ifndef TESSERA_WORKER_APP_CACHED_IMAGES_H_
#define TESSERA_WORKER_APP_CACHED_IMAGES_H_

#include <string>

#include "absl/status/statusor.h"
#include "worker/model/file_images.h"
#include "worker/model/weight_images.h"

namespace tessera::worker {

// Uses the folder where it can, and says in the log why it cannot: a full disk keeps no model from
// being served. Thread-compatible.
class CachedImages final : public WeightImages {
 public:
  // `memory` is borrowed.
  CachedImages(const std::string& folder, WeightImages* memory) : files_(folder), memory_(memory) {}

  absl::StatusOr<Buffer> Find(const ImageKey& key) override;
  absl::StatusOr<Buffer> Make(const ImageKey& key) override;
  absl::StatusOr<Buffer> Keep(const ImageKey& key, Buffer image) override;

 private:
  FileImages files_;
  WeightImages* const memory_;
  bool in_memory_ = false;  // the image that was made last
};

// The folder that a flag asks for: "none" is none, and without the flag it is `tessera` in the
// user's cache folder ($XDG_CACHE_HOME, or ~/.cache); empty where there is no such.
std::string CacheFolder(const std::string& flag);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_APP_CACHED_IMAGES_H_
