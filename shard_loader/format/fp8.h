// Numbers of 8 bits as weights are published in: E4M3 (Micikevicius et al., "FP8 Formats for Deep
// Learning", arXiv:2209.05433): a sign, 4 bits of exponent biased by 7, 3 of fraction; no infinity.
#ifndef TESSERA_SHARD_LOADER_FORMAT_FP8_H_
#define TESSERA_SHARD_LOADER_FORMAT_FP8_H_

#include <cstddef>

namespace tessera::shard_loader {

// Exact, in bfloat16 as well.
float DecodeE4M3(std::byte number);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_FORMAT_FP8_H_
