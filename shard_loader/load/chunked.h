// Tensors that a format cuts into chunks of one shape, each stored and compressed on its own (HDF5,
// zarr), as pieces.
#ifndef TESSERA_SHARD_LOADER_LOAD_CHUNKED_H_
#define TESSERA_SHARD_LOADER_LOAD_CHUNKED_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "shard_loader/format/stored_type.h"
#include "shard_loader/format/tensor_index.h"
#include "shard_loader/load/weight_files.h"

namespace tessera::shard_loader {

struct StoredChunk {
  int file = 0;
  std::vector<int64_t> origin;  // its first element in the tensor
  ByteRange data;               // the record, as it is or compressed
};

// Chunks at the end of a dimension are stored whole; what lies outside of the tensor is padding.
struct ChunkedTensor {
  std::string name;
  StoredType type = StoredType::kF32;
  std::vector<int64_t> shape;
  std::vector<int64_t> chunk_shape;  // as many dimensions
  bool column_major = false;         // inside of a chunk
  Codec codec = Codec::kNone;
  std::vector<StoredChunk> chunks;
};

// Bytes of one chunk once inflated. DATA_LOSS: shapes of which no chunk can be made, or a chunk
// that claims far more than `most` stored bytes can hold. `file` begins the message.
absl::StatusOr<uint64_t> ChunkBytes(const ChunkedTensor& tensor, uint64_t most,
                                    const std::string& file);

// Errors as ChunkBytes, for every chunk; DATA_LOSS too where one lies outside of the tensor. Of
// three and more dimensions there are pieces only where the chunks cut no more than the first and
// the last of them; see FoundTensor.
absl::StatusOr<FoundTensor> FromChunks(ChunkedTensor tensor, const std::string& file);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_LOAD_CHUNKED_H_
