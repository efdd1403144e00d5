// The index of a checkpoint of torch.distributed.checkpoint (torch/distributed/checkpoint:
// metadata.py, filesystem.py): `.metadata`, a pickle, says for every tensor which chunk of it lies
// where in the .distcp files. Megatron-Core's torch_dist format is the same.
#ifndef TESSERA_SHARD_LOADER_FORMAT_TORCH_DIST_H_
#define TESSERA_SHARD_LOADER_FORMAT_TORCH_DIST_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "shard_loader/format/tensor_index.h"

namespace tessera::shard_loader {

struct DistChunk {
  std::vector<int64_t> origin;
  std::vector<int64_t> sizes;
  std::string file;  // plain name beside .metadata
  ByteRange data;    // a file of torch.save that holds this chunk
};

struct DistTensor {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<DistChunk> chunks;
};

// `bytes` is `.metadata`. Values that are no tensors are left out. Nothing is imported, as
// Pickle::Parse says. DATA_LOSS: no such index, or one that disagrees with itself. UNIMPLEMENTED:
// chunks that were compressed or encrypted.
absl::StatusOr<std::vector<DistTensor>> ParseTorchDist(std::string_view bytes,
                                                       const std::string& file);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_FORMAT_TORCH_DIST_H_
