// Elements of packed matrices, and the making of coded ones (shard_loader/plan/packed_layout.h).
#ifndef TESSERA_WORKER_BACKEND_CODED_MATRIX_H_
#define TESSERA_WORKER_BACKEND_CODED_MATRIX_H_

#include <cstddef>
#include <cstdint>

#include "worker/backend/ops.h"

namespace tessera::worker {

// What the matrix stands for at (row, column): the element, or code * scale, or code * scale +
// minimum, in fp32 (the first two exact).
float ElementOf(const PackedMatrix& matrix, int64_t row, int64_t column);

// All elements of a row: [matrix.columns].
void ReadRow(const PackedMatrix& matrix, int64_t row, float* values);

// The group that a column belongs to.
int64_t GroupOf(const PackedMatrix& matrix, int64_t column);

// The codes of one row in one group, exactly as a checkpoint has them.
struct RowGroup {
  int64_t row = 0;
  int64_t group = 0;
  const int8_t* codes = nullptr;  // of the group's columns: -128 to 127, -8 to 7, or 0 to 15
  uint16_t scale = 0;             // bits, in the matrix's dtype
  float minimum = 0;              // only with kInt4Offset
};

// Puts them where they belong in `image`, the matrix's own bytes, zero before.
void PackRowGroup(const PackedMatrix& matrix, const RowGroup& part, std::byte* image);

// Chooses codes and scales for one row of values, [matrix.columns], and packs them. 8 bits: the
// largest magnitude of a group is 127 steps. 4 bits: the value of the largest magnitude is -8
// steps. With kInt4Offset: 15 steps from the lowest to the highest value. A group with a value that
// is no finite number gets a scale of NaN.
void PackCodedRow(const PackedMatrix& matrix, int64_t row, const float* values, std::byte* image);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_BACKEND_CODED_MATRIX_H_
