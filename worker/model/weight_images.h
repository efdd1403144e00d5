// Where the memory of a rank's packed weights comes from, and where a finished image stays when the
// rank is gone.
#ifndef TESSERA_WORKER_MODEL_WEIGHT_IMAGES_H_
#define TESSERA_WORKER_MODEL_WEIGHT_IMAGES_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/tensor/buffer.h"

namespace tessera::worker {

struct ImageKey {
  // All that the bytes depend on, in words: images of equal keys are equal. At most 1,000 bytes.
  std::string id;
  int64_t bytes = 0;  // more than none
};

// Thread-compatible. Buffers that were given out outlive this object.
class WeightImages {
 public:
  virtual ~WeightImages() = default;
  // The finished image of `key`, not to be written; an empty buffer where there is none.
  virtual absl::StatusOr<Buffer> Find(const ImageKey& key) = 0;
  // Zeroed memory to pack an image into. A process that ends before Keep leaves nothing that Find
  // would give.
  virtual absl::StatusOr<Buffer> Make(const ImageKey& key) = 0;
  // `image`, from Make, is complete. Returns what is to be used from now on, not to be written.
  virtual absl::StatusOr<Buffer> Keep(const ImageKey& key, Buffer image) = 0;
};

// Memory of this process that nobody finds again.
class PrivateImages final : public WeightImages {
 public:
  absl::StatusOr<Buffer> Find(const ImageKey& key) override;
  absl::StatusOr<Buffer> Make(const ImageKey& key) override;
  absl::StatusOr<Buffer> Keep(const ImageKey& key, Buffer image) override;
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_MODEL_WEIGHT_IMAGES_H_
