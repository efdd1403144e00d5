// Blocks of quantised weights as GGML writes them (ggml/src/ggml-common.h: block_q4_0 and so on),
// turned into float32 by the same operations in the same order as ggml's dequantize_row_*.
#ifndef TESSERA_SHARD_LOADER_FORMAT_GGML_BLOCKS_H_
#define TESSERA_SHARD_LOADER_FORMAT_GGML_BLOCKS_H_

#include <cstddef>

#include "absl/types/span.h"
#include "shard_loader/format/stored_type.h"

namespace tessera::shard_loader {

bool IsBlockType(StoredType type);

// Whole blocks: `blocks` holds a multiple of BlockOf(type).bytes, `values` as many elements.
void DecodeBlocks(StoredType type, absl::Span<const std::byte> blocks, absl::Span<float> values);

// IEEE 754 half to single, exactly; NaN payloads are kept.
float HalfToFloat(unsigned short half);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_FORMAT_GGML_BLOCKS_H_
