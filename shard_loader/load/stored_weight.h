// Where a weight of ours lies in a tensor of the checkpoint that holds more, or other, than it.
#ifndef TESSERA_SHARD_LOADER_LOAD_STORED_WEIGHT_H_
#define TESSERA_SHARD_LOADER_LOAD_STORED_WEIGHT_H_

#include <cstdint>
#include <vector>

#include "shard_loader/load/source_piece.h"
#include "shard_loader/model/decoder_spec.h"
#include "shard_loader/model/family.h"

namespace tessera::shard_loader {

// `pieces` are those of the tensor, one of three dimensions as a matrix of all its rows. The result
// has the weight's own rows and columns. Pure arithmetic.
std::vector<SourcePiece> WeightPieces(const DecoderSpec& spec, TensorId id,
                                      const NamePattern& pattern,
                                      const std::vector<SourcePiece>& pieces);

// The rows first, first + step, ... as rows [to, to + count) of something else; columns stay.
std::vector<SourcePiece> SelectRows(const std::vector<SourcePiece>& pieces, Range from,
                                    int64_t step, int64_t to);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_LOAD_STORED_WEIGHT_H_
