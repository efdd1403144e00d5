// A rank's packed weights in memory, and a copy of them in the cache folder for the next start.
#ifndef TESSERA_WORKER_MODEL_CACHED_IMAGES_H_
#define TESSERA_WORKER_MODEL_CACHED_IMAGES_H_

#include <filesystem>
#include <functional>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "worker/model/file_images.h"
#include "worker/model/weight_images.h"

namespace tessera::worker {

// The weights are computed with in memory, whose pages may be huge: over a file's small pages the
// same work takes up to twice as long. The file is written by a thread while the rank is running
// already, and read back by several. A folder that cannot be used keeps no model from being served.
// Thread-compatible.
class CachedImages final : public WeightImages {
 public:
  using Tell = std::function<void(bool is_warning, const std::string& text)>;

  // `memory` is borrowed. `tell` is called where the cache was used, or could not be; from any
  // thread.
  CachedImages(const std::filesystem::path& folder, WeightImages* memory, Tell tell)
      : files_(folder), memory_(memory), tell_(std::move(tell)) {}
  ~CachedImages() override { Finish(); }

  absl::StatusOr<Buffer> Find(const ImageKey& key) override;
  absl::StatusOr<Buffer> Make(const ImageKey& key) override;
  absl::StatusOr<Buffer> Keep(const ImageKey& key, Buffer image) override;

  // Waits until the file is written.
  void Finish();

 private:
  void Write(const ImageKey& key, const Buffer& image);

  FileImages files_;
  WeightImages* const memory_;
  const Tell tell_;
  std::thread writer_;  // owns files_ while it runs
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_MODEL_CACHED_IMAGES_H_
