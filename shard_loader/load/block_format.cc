#include "shard_loader/load/block_format.h"

#include <algorithm>
#include <map>

#include "shard_loader/format/ggml_blocks.h"
#include "shard_loader/model/tensors.h"

namespace tessera::shard_loader {
namespace {

// The type that more than half of the elements of matrices are stored in; kOther: none is.
StoredType MostStoredType(const Checkpoint& checkpoint) {
  std::map<StoredType, int64_t> elements;
  int64_t all = 0;
  for (const StoredTensor& tensor : checkpoint.tensors()) {
    if (tensor.shape.size() != 2) continue;
    elements[tensor.stored] += tensor.shape[0] * tensor.shape[1];
    all += tensor.shape[0] * tensor.shape[1];
  }
  for (const auto& [type, count] : elements) {
    if (count > all / 2) return type;
  }
  return StoredType::kOther;
}

WeightFormat AsStored(Codes codes, StoredType blocks) {
  WeightFormat format(codes, BlockOf(blocks).elements, DType::kF16);
  format.groups_restart = false;
  return format;
}

// "int8" and "int4" as the groups of most blocks; absent where they are none for it.
std::optional<WeightFormat> Taken(StoredType blocks, std::string_view name) {
  if (name == "int8" && (blocks == StoredType::kQ8_0 || blocks == StoredType::kQ4_0)) {
    return AsStored(Codes::kInt8, blocks);
  }
  if (name == "int4" && blocks == StoredType::kQ4_0) return AsStored(Codes::kInt4, blocks);
  if (name == "int4" && blocks == StoredType::kQ4_1) return AsStored(Codes::kInt4Offset, blocks);
  return std::nullopt;
}

// Whether the groups of all matrices whose columns are cut between ranks are the checkpoint's.
bool HoldsCutMatrices(const Checkpoint& checkpoint, const WeightFormat& format) {
  for (const StoredTensor& tensor : checkpoint.tensors()) {
    if (tensor.shape.size() != 2 || CutOf(checkpoint.spec(), tensor.id.role).axis != 1) continue;
    const WeightFormat own = FormatOfRole(format, tensor.id.role);
    if (own.coded() && !(IsCoded(tensor) && HoldsBlocks(own, tensor.stored))) return false;
  }
  return true;
}

}  // namespace

std::optional<WeightFormat> FormatFor(const Checkpoint& checkpoint, std::string_view name) {
  const auto taken = Taken(MostStoredType(checkpoint), name);
  if (taken && HoldsCutMatrices(checkpoint, *taken)) return taken;
  const auto format = ParseWeightFormat(name);
  const bool whole = format && format->coded() && !format->groups_restart;
  return whole && !HoldsCutMatrices(checkpoint, *format) ? std::nullopt : format;
}

bool IsCoded(const StoredTensor& tensor) {
  if (!HasCodes(tensor.stored) || tensor.shape.size() != 2) return false;
  const int64_t elements = BlockOf(tensor.stored).elements;
  return std::all_of(tensor.pieces.begin(), tensor.pieces.end(), [&](const SourcePiece& piece) {
    return piece.type == tensor.stored && piece.codec == Codec::kNone && !piece.blocks_down &&
           piece.columns.begin % elements == 0;
  });
}

bool HoldsBlocks(const WeightFormat& format, StoredType blocks) {
  if (format.dtype != DType::kF16 || format.groups_restart ||
      format.group != BlockOf(blocks).elements) {
    return false;
  }
  switch (blocks) {
    case StoredType::kQ8_0:
      return format.codes == Codes::kInt8;
    case StoredType::kQ4_0:
      return format.codes == Codes::kInt8 || format.codes == Codes::kInt4;
    case StoredType::kQ4_1:
      return format.codes == Codes::kInt4Offset;
    default:
      return false;
  }
}

}  // namespace tessera::shard_loader
