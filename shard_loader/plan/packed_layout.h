// How a rank's weights lie in memory: one contiguous image, the same for every kernel set, computed
// before a byte is read.
//
// A matrix [rows, columns] is cut into tiles of 16 output rows, the last one padded with zeros; a
// tile holds its columns in pairs, an odd last one padded with zeros. A pair is 32 elements: the 16
// values of the first column, then those of the second; in bf16 the two values of each row lie side
// by side instead, so that one load and one shift or mask widen 16 of them. A kernel thus reads a
// tile from front to back while it walks once along the columns, and a lane of a row-parallel
// product is a range of columns.
//
// A coded matrix (weight_format.h) has the same tiles. A tile holds the codes of its columns in
// blocks of 8, the last one padded with zero codes, then the scales, [groups][16], then with
// kInt4Offset the minima, [groups][16] in fp32; its size is rounded up to 64 bytes. A block is, in
// 8 bits, [half][16 rows][4 columns of the half] of code + 128; in 4 bits [16 rows][4 bytes], where
// byte j holds column j in its low and column 4 + j in its high half, as code + 8 (kInt4) or the
// code itself (kInt4Offset). So one dot instruction takes 4 columns of 16 rows.
// Vectors (norms, biases) are fp32 whatever the format of the weights.
#ifndef TESSERA_SHARD_LOADER_PLAN_PACKED_LAYOUT_H_
#define TESSERA_SHARD_LOADER_PLAN_PACKED_LAYOUT_H_

#include <cstdint>
#include <vector>

#include "shard_loader/model/decoder_spec.h"
#include "shard_loader/model/dtype.h"
#include "shard_loader/plan/rank_plan.h"
#include "shard_loader/plan/weight_format.h"

namespace tessera::shard_loader {

inline constexpr int64_t kTileRows = 16;
inline constexpr int64_t kPackedAlignment = 64;  // bytes; of every tensor in the image

struct PackedTensor {
  TensorId id;
  bool is_matrix = false;
  DType dtype = DType::kF32;  // of the elements, or of the scales
  Codes codes = Codes::kNone;
  std::vector<int64_t>
      groups;           // of a coded matrix: where each group of columns begins, and the end
  int64_t rows = 0;     // of this rank's slice
  int64_t columns = 1;  // likewise; 1 for a vector
  int64_t offset = 0;   // bytes from the front of the image
  int64_t bytes = 0;    // with the padding of the last tile
};

struct PackedLayout {
  std::vector<PackedTensor> tensors;  // ascending by offset
  std::vector<int32_t> by_id;         // indices of `tensors`, ascending by id
  int64_t bytes = 0;

  // Null where the rank does not hold it. With tied embeddings a rank that is both first and last
  // stage has no kHead: it is the kEmbedding.
  const PackedTensor* Find(TensorId id) const;
};

PackedLayout MakePackedLayout(const DecoderSpec& spec, const RankPlan& plan,
                              const WeightFormat& format);

// Elements of a packed matrix, with its padding.
constexpr int64_t PackedElements(int64_t rows, int64_t columns) {
  return (rows + kTileRows - 1) / kTileRows * kTileRows * ((columns + 1) / 2 * 2);
}

// Index, in elements, of (row, column) of a packed matrix.
constexpr int64_t PackedIndex(int64_t row, int64_t column, int64_t columns, DType dtype) {
  const int64_t pair = (row / kTileRows * ((columns + 1) / 2) + column / 2) * 2 * kTileRows;
  if (dtype == DType::kBF16) return pair + row % kTileRows * 2 + column % 2;
  return pair + column % 2 * kTileRows + row % kTileRows;
}

// Where the parts of a tile of a coded matrix lie, in bytes from its front.
struct CodedTile {
  int64_t scales = 0;
  int64_t minima = 0;  // the end of the scales where there are none
  int64_t bytes = 0;
};
CodedTile MakeCodedTile(Codes codes, int64_t columns, int64_t num_groups);

// The byte of a tile that holds row `row`'s code of `column`; in 4 bits the low half of the byte
// where column % 8 < 4, else the high half.
constexpr int64_t CodeByte(Codes codes, int64_t row, int64_t column) {
  const int64_t half = codes == Codes::kInt8 ? column / 4 : column / 8;
  return (half * kTileRows + row % kTileRows) * 4 + column % 4;
}

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_PLAN_PACKED_LAYOUT_H_
