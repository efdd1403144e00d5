// Which rows of a tensor of the checkpoint a weight of ours is, and what shape that tensor has.
// Pure arithmetic over the family's table.
#ifndef TESSERA_SHARD_LOADER_MODEL_STORED_ROWS_H_
#define TESSERA_SHARD_LOADER_MODEL_STORED_ROWS_H_

#include <cstdint>
#include <vector>

#include "shard_loader/model/decoder_spec.h"
#include "shard_loader/model/family.h"

namespace tessera::shard_loader {

// Rows [ours, ours + count) of the weight are the rows stored, stored + step, ... of the tensor, or
// of the expert's part of it; of its columns where it is transposed.
struct RowRun {
  int64_t ours = 0;
  int64_t stored = 0;
  int64_t count = 0;
  int64_t step = 1;
};

// Together all rows of the weight, ascending.
std::vector<RowRun> RowsInStored(const DecoderSpec& spec, const NamePattern& pattern);

// Whether the tensor holds the weights of all experts.
bool HoldsAllExperts(const NamePattern& pattern);

// The shape of the tensor.
std::vector<int64_t> StoredShape(const DecoderSpec& spec, const NamePattern& pattern);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_MODEL_STORED_ROWS_H_
