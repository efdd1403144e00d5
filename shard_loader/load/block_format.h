// Formats that hold the blocks of a checkpoint as they are.
#ifndef TESSERA_SHARD_LOADER_LOAD_BLOCK_FORMAT_H_
#define TESSERA_SHARD_LOADER_LOAD_BLOCK_FORMAT_H_

#include <optional>
#include <string_view>

#include "shard_loader/format/stored_type.h"
#include "shard_loader/load/checkpoint.h"
#include "shard_loader/plan/weight_format.h"

namespace tessera::shard_loader {

// What "int8", "int4" and other names of formats mean for this checkpoint: where most of its
// matrices, and all whose columns ranks share, are blocks whose integers fit, "int8" and "int4"
// take their groups, scales and minima over. Else as ParseWeightFormat; absent too for groups of
// the whole matrix where they are not the checkpoint's own: no rank could choose them alone.
std::optional<WeightFormat> FormatFor(const Checkpoint& checkpoint, std::string_view name);

// Whether the weight is blocks of integers, row by row, that begin at multiples of their elements.
bool IsCoded(const StoredTensor& tensor);

// Whether a matrix of these codes, scales and groups holds blocks of this type without any loss.
bool HoldsBlocks(const WeightFormat& format, StoredType blocks);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_LOAD_BLOCK_FORMAT_H_
