// MXFP4 (OCP Microscaling Formats specification 1.0): blocks of 32 numbers of 4 bits with one
// power of two, as gpt_oss publishes its experts: 16 bytes a block, the lower half of a byte first,
// and the exponents (E8M0, biased by 127) in a tensor of their own.
#ifndef TESSERA_SHARD_LOADER_FORMAT_MXFP4_H_
#define TESSERA_SHARD_LOADER_FORMAT_MXFP4_H_

#include <cstddef>

#include "absl/types/span.h"

namespace tessera::shard_loader {

// `scales` has a byte for each block of 16 bytes, `values` room for 32 numbers each. Every value is
// exact in bfloat16 as well. Scale 255 is NaN.
void DecodeMxfp4(absl::Span<const std::byte> blocks, absl::Span<const std::byte> scales,
                 absl::Span<float> values);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_FORMAT_MXFP4_H_
