// Rows that Megatron-LM keeps together, taken apart.
#ifndef TESSERA_SHARD_LOADER_LOAD_MEGATRON_PARTS_H_
#define TESSERA_SHARD_LOADER_LOAD_MEGATRON_PARTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "shard_loader/load/weight_files.h"

namespace tessera::shard_loader {

struct QkvLayout {
  int64_t heads = 0;  // query heads of the model
  int64_t groups = 0;
  int64_t head_size = 0;
  // Rows of a rank (megatron/legacy/checkpointing.py: fix_query_key_value_ordering):
  // below 1: [3, heads, head_size]; below 2: [heads, head_size, 3]; from 2 on, for each group its
  // queries, its key and its value.
  double version = 3.0;
  bool interleaved = false;  // rotary pairs are neighbours
};

struct QkvTensors {
  FoundTensor query, key, value;
};

// `parts` by tensor-parallel rank. FAILED_PRECONDITION where rows are no whole heads.
absl::StatusOr<QkvTensors> SplitQkv(const std::vector<FoundTensor>& parts, const QkvLayout& layout,
                                    const std::string& file);

struct GateUpTensors {
  FoundTensor gate, up;
};

// Each rank has its rows of gate, then as many of up.
absl::StatusOr<GateUpTensors> SplitGateUp(const std::vector<FoundTensor>& parts,
                                          const std::string& file);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_LOAD_MEGATRON_PARTS_H_
