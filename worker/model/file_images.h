// A rank's packed weights in a file of the cache folder, which the next start maps.
#ifndef TESSERA_WORKER_MODEL_FILE_IMAGES_H_
#define TESSERA_WORKER_MODEL_FILE_IMAGES_H_

#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/model/weight_images.h"
#include "worker/tensor/buffer.h"

namespace tessera::worker {

// One file for each key: a header of 4096 bytes that holds the key, then the image. It is written
// under another name, synchronised, and renamed: a file of the right name is whole, and one whose
// header or size is not the key's is not used. Several processes may share the folder; a file that
// is mapped may be removed. Thread-compatible.
class FileImages final : public WeightImages {
 public:
  // `folder` is made when it is needed, readable for its owner alone.
  explicit FileImages(std::filesystem::path folder) : folder_(std::move(folder)) {}
  ~FileImages() override;
  FileImages(const FileImages&) = delete;
  FileImages& operator=(const FileImages&) = delete;

  // Not those that another user may write.
  absl::StatusOr<Buffer> Find(const ImageKey& key) override;
  // Memory of the file. RESOURCE_EXHAUSTED where the file system has no room for it, or would be
  // left with less than a twentieth of its own; FAILED_PRECONDITION where it cannot be written.
  absl::StatusOr<Buffer> Make(const ImageKey& key) override;
  absl::StatusOr<Buffer> Keep(const ImageKey& key, Buffer image) override;

  // Where the image of `key` lies.
  std::filesystem::path PathOf(const ImageKey& key) const;

 private:
  void RemoveOld();
  absl::Status CreateTemporary();
  void Discard();

  std::filesystem::path folder_;
  std::filesystem::path temporary_;  // of the image that is being packed
  int fd_ = -1;                      // of it, locked as long as it is written
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_MODEL_FILE_IMAGES_H_
