// A packed image in anonymous shared memory: it lives as long as any process holds the descriptor.
#ifndef TESSERA_WORKER_MODEL_MEMFD_IMAGES_H_
#define TESSERA_WORKER_MODEL_MEMFD_IMAGES_H_

#include <string>

#include "absl/status/statusor.h"
#include "worker/model/weight_images.h"

namespace tessera::worker {

// Holds one image. The file begins with a page that holds the key's id; the image begins at 2 MiB.
// It is finished if, and only if, it is sealed against writing (memfd_create(2), F_SEAL_WRITE): the
// kernel keeps what a dying rank may still do away from it. Thread-compatible.
class MemfdImages final : public WeightImages {
 public:
  // `fd`: an empty or a used memfd that allows sealing, taken over; -1: one is made when it is
  // needed, and lives as long as this object.
  explicit MemfdImages(int fd) : fd_(fd) {}
  ~MemfdImages() override;
  MemfdImages(const MemfdImages&) = delete;
  MemfdImages& operator=(const MemfdImages&) = delete;

  absl::StatusOr<Buffer> Find(const ImageKey& key) override;
  // A finished image of another key is let go for it; whoever else holds that keeps it.
  absl::StatusOr<Buffer> Make(const ImageKey& key) override;
  absl::StatusOr<Buffer> Keep(const ImageKey& key, Buffer image) override;

 private:
  bool sealed() const;
  absl::StatusOr<Buffer> MapFinished(const ImageKey& key) const;

  int fd_;
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_MODEL_MEMFD_IMAGES_H_
