// PyTorch's files: the zip container since 1.6 (records NAME/data.pkl and NAME/data/KEY) and the
// one before it (bare pickles, then the storages). Layouts: torch/serialization.py.
#ifndef TESSERA_SHARD_LOADER_FORMAT_TORCH_FILE_H_
#define TESSERA_SHARD_LOADER_FORMAT_TORCH_FILE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "shard_loader/format/byte_source.h"
#include "shard_loader/format/pickle.h"
#include "shard_loader/format/tensor_index.h"

namespace tessera::shard_loader {

// What one file holds. Immutable, thread-safe; neither copied nor moved, as its values point into
// its text.
class TorchFile {
 public:
  // Reads the pickle and the directory, no tensor. DATA_LOSS, UNIMPLEMENTED, RESOURCE_EXHAUSTED as
  // Pickle::Parse; never takes more memory than a few times the file's pickle, at most its size.
  static absl::StatusOr<std::unique_ptr<TorchFile>> Read(const ByteSource& file);

  TorchFile(const TorchFile&) = delete;
  TorchFile& operator=(const TorchFile&) = delete;

  // Every tensor that is reached through dicts, lists and tuples; its name is the path of keys and
  // positions, joined by dots ("module.lm_head.weight", "fp32_flat_groups.0").
  const TensorIndex& index() const { return index_; }
  // Everything else, such as a Megatron `args`.
  const Pickle& pickle() const { return *pickle_; }

 private:
  friend class TorchReader;
  TorchFile() = default;

  std::string text_;
  std::unique_ptr<Pickle> pickle_;
  TensorIndex index_;
};

// Whether the first bytes are those of one of the two containers (a zip may hold other things).
bool LooksLikeTorchFile(std::string_view front);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_FORMAT_TORCH_FILE_H_
