// Packing without conversion: the bits of a row-major matrix, put into tiles.
#ifndef TESSERA_WORKER_MODEL_PACK_SAME_H_
#define TESSERA_WORKER_MODEL_PACK_SAME_H_

#include <cstddef>
#include <cstdint>

#include "shard_loader/model/dtype.h"

namespace tessera::worker {

// `from` [rows, columns] of `dtype`, compact, into zeroed tiles of the same dtype as
// shard_loader/plan/packed_layout.h describes them. In fp32, and in bf16 by pairs of columns, a
// tile is its 16 rows turned, 4 bytes at a time; in fp16 2 bytes.
void PackSame(const std::byte* from, int64_t rows, int64_t columns, shard_loader::DType dtype,
              std::byte* to);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_MODEL_PACK_SAME_H_
