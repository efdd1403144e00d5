// Weights in FP8 beside their scales, as several tools publish them: NAME in E4M3 [rows, columns],
// and NAME_scale_inv or NAME_scale with one number for all, for each row, or for each block of
// quantization_config's weight_block_size. A weight is the product of both.
#ifndef TESSERA_SHARD_LOADER_LOAD_SCALED_FP8_H_
#define TESSERA_SHARD_LOADER_LOAD_SCALED_FP8_H_

#include <string>

#include "absl/status/status.h"
#include "shard_loader/load/weight_files.h"

namespace tessera::shard_loader {

// Joins both into tensors of kScaledFp8. What has no scales stays as it is, and is refused later.
// FAILED_PRECONDITION where the scales do not fit. `config`: the text of config.json.
absl::Status JoinScaledFp8(const std::string& config, WeightFiles& found);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_LOAD_SCALED_FP8_H_
