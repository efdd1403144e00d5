// Numbers of 16 bits and fp32, bit by bit: the same on every machine, whatever instructions it has.
#ifndef TESSERA_WORKER_TENSOR_CONVERT_H_
#define TESSERA_WORKER_TENSOR_CONVERT_H_

#include <cstddef>
#include <cstdint>

#include "shard_loader/model/dtype.h"

namespace tessera::worker {

// Exact.
float BF16ToFloat(uint16_t bits);
float F16ToFloat(uint16_t bits);

// To the nearest, ties to even; too large becomes infinity; NaN stays NaN.
uint16_t FloatToBF16(float value);
uint16_t FloatToF16(float value);

// Element `index` of an array of `dtype`, at any alignment.
float LoadElement(const std::byte* data, int64_t index, shard_loader::DType dtype);
void StoreElement(float value, std::byte* data, int64_t index, shard_loader::DType dtype);

// `count` elements from the front of `from`. Exact, or to the nearest as above.
void WidenElements(const std::byte* from, shard_loader::DType dtype, int64_t count, float* to);
void NarrowElements(const float* from, int64_t count, shard_loader::DType dtype, std::byte* to);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_TENSOR_CONVERT_H_
