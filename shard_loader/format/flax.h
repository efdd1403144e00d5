// Flax's msgpack checkpoints (flax/serialization.py): nested maps, an array being extension type 1
// with a packed (shape, dtype name, bytes).
#ifndef TESSERA_SHARD_LOADER_FORMAT_FLAX_H_
#define TESSERA_SHARD_LOADER_FORMAT_FLAX_H_

#include "absl/status/statusor.h"
#include "shard_loader/format/byte_source.h"
#include "shard_loader/format/tensor_index.h"

namespace tessera::shard_loader {

enum class FlaxKind {
  kWeights,  // a file without any array is DATA_LOSS
  kState,    // it may hold none: its arrays may lie elsewhere
};

// Names are the paths of keys, joined by dots. Other values are skipped. DATA_LOSS: no msgpack map,
// truncated, an array whose shape does not fit its bytes, bytes after the end. UNIMPLEMENTED: an
// unknown dtype, arrays that Flax cut into chunks. RESOURCE_EXHAUSTED: nested too deep.
absl::StatusOr<TensorIndex> ReadFlax(const ByteSource& file, FlaxKind kind = FlaxKind::kWeights);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_FORMAT_FLAX_H_
