// Weights that a framework wrote in parts, put together again without copying.
#ifndef TESSERA_SHARD_LOADER_LOAD_JOINED_H_
#define TESSERA_SHARD_LOADER_LOAD_JOINED_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "shard_loader/load/weight_files.h"

namespace tessera::shard_loader {

// The parts one after the other along `axis`. FAILED_PRECONDITION where their other dimension or
// their number of dimensions differ. `file` begins the message.
absl::StatusOr<FoundTensor> Joined(const std::vector<FoundTensor>& parts, int axis,
                                   const std::string& file);

// The first `rows` rows: a vocabulary without its padding. Those that are fewer stay as they are.
FoundTensor FirstRows(FoundTensor tensor, int64_t rows);

// A matrix with rows and columns swapped; what has another number of dimensions stays as it is.
FoundTensor Turned(FoundTensor tensor);

// Without leading dimensions of 1: down to one dimension where `vector`, else to two.
FoundTensor Squeezed(FoundTensor tensor, bool vector);

// Number `index` of the tensors that are stacked along the first dimension of `stack`.
FoundTensor Unstacked(const FoundTensor& stack, int64_t index);

// Adds under a name that nothing has yet. DATA_LOSS where something has.
absl::Status AddTensor(WeightFiles& files, const std::string& name, FoundTensor tensor);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_LOAD_JOINED_H_
