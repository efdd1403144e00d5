// Blocks of quantised weights as GGML writes them (ggml/src/ggml-common.h: block_q4_0 and so on),
// turned into float32 by the same operations in the same order as ggml's dequantize_row_*.
#ifndef TESSERA_SHARD_LOADER_FORMAT_GGML_BLOCKS_H_
#define TESSERA_SHARD_LOADER_FORMAT_GGML_BLOCKS_H_

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "shard_loader/format/stored_type.h"

namespace tessera::shard_loader {

bool IsBlockType(StoredType type);

// Whole blocks: `blocks` holds a multiple of BlockOf(type).bytes, `values` as many elements.
void DecodeBlocks(StoredType type, absl::Span<const std::byte> blocks, absl::Span<float> values);

// Whether the elements of a block are integers of up to 8 bits times one scale, plus a minimum for
// kQ4_1: what a coded matrix holds as it is (shard_loader/plan/packed_layout.h).
bool HasCodes(StoredType type);

// The integers, for each block its scale (the bits of a half) and its minimum (0 but for kQ4_1), of
// whole blocks of such a type: an element is code * scale + minimum, as DecodeBlocks has it.
struct BlockCodes {
  absl::Span<int8_t> codes;
  absl::Span<uint16_t> scales;
  absl::Span<float> minima;
};
void DecodeCodes(StoredType type, absl::Span<const std::byte> blocks, const BlockCodes& out);

// IEEE 754 half to single, exactly; NaN payloads are kept.
float HalfToFloat(unsigned short half);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_FORMAT_GGML_BLOCKS_H_
