// How a rank's weights lie in memory: one contiguous image, the same for every kernel set, computed
// before a byte is read.
//
// A matrix [rows, columns] is cut into tiles of 16 output rows, the last one padded with zeros; a
// tile holds, for each column, its 16 values side by side: element (r, c) lies at index
// (r / 16) * 16 * columns + c * 16 + r % 16. A kernel thus reads a tile from front to back while it
// walks once along the columns, and a lane of a row-parallel product is a range of columns.
// Vectors (norms, biases) are fp32 whatever the dtype of the weights.
#ifndef TESSERA_SHARD_LOADER_PLAN_PACKED_LAYOUT_H_
#define TESSERA_SHARD_LOADER_PLAN_PACKED_LAYOUT_H_

#include <cstdint>
#include <vector>

#include "shard_loader/model/decoder_spec.h"
#include "shard_loader/model/dtype.h"
#include "shard_loader/plan/rank_plan.h"

namespace tessera::shard_loader {

inline constexpr int64_t kTileRows = 16;
inline constexpr int64_t kPackedAlignment = 64;  // bytes; of every tensor in the image

struct PackedTensor {
  TensorId id;
  bool is_matrix = false;
  DType dtype = DType::kF32;
  int64_t rows = 0;     // of this rank's slice
  int64_t columns = 1;  // likewise; 1 for a vector
  int64_t offset = 0;   // bytes from the front of the image
  int64_t bytes = 0;    // with the padding of the last tile
};

struct PackedLayout {
  std::vector<PackedTensor> tensors;  // ascending by offset
  int64_t bytes = 0;

  // Null where the rank does not hold it. With tied embeddings a rank that is both first and last
  // stage has no kHead: it is the kEmbedding.
  const PackedTensor* Find(TensorId id) const;
};

PackedLayout MakePackedLayout(const DecoderSpec& spec, const RankPlan& plan, DType dtype);

// Index, in elements, of (row, column) of a packed matrix.
constexpr int64_t PackedIndex(int64_t row, int64_t column, int64_t columns) {
  return (row / kTileRows) * kTileRows * columns + column * kTileRows + row % kTileRows;
}

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_PLAN_PACKED_LAYOUT_H_
