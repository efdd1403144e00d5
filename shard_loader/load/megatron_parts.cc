#include "shard_loader/load/megatron_parts.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

absl::Status NoWholeHeads(const FoundTensor& part, const std::string& file) {
  return absl::FailedPreconditionError(
      absl::StrCat("shard_loader: ", file, ": tensor '", Excerpt(part.name), "' has ",
                   part.shape.empty() ? 0 : part.shape[0], " rows, which are no whole heads"));
}

// Adds rows of `from` at the end of `to`; every `step`th from `first` on.
void Append(const SourcePiece& from, int64_t first, int64_t count, int64_t step, FoundTensor* to) {
  SourcePiece piece = RowsOf(from, {first, first + count});
  piece.row_stride *= step;
  to->pieces.push_back(MovedTo(piece, to->shape[0], 0));
  to->shape[0] += count;
}

// The rows of one rank, of a version before grouped queries.
void SplitOld(const SourcePiece& rows, const QkvLayout& layout, int64_t count, QkvTensors* out) {
  FoundTensor* const tensors[] = {&out->query, &out->key, &out->value};
  for (int64_t i = 0; i < 3; ++i) {
    const bool apart = layout.version < 1.0;
    Append(rows, apart ? i * count : i, count, apart ? 1 : 3, tensors[i]);
  }
}

void SplitGroups(const SourcePiece& rows, const QkvLayout& layout, int64_t groups,
                 QkvTensors* out) {
  const int64_t queries = layout.heads / layout.groups * layout.head_size;
  const int64_t group_rows = queries + 2 * layout.head_size;
  for (int64_t group = 0; group < groups; ++group) {
    const int64_t first = group * group_rows;
    Append(rows, first, queries, 1, &out->query);
    Append(rows, first + queries, layout.head_size, 1, &out->key);
    Append(rows, first + queries + layout.head_size, layout.head_size, 1, &out->value);
  }
}

void Uninterleave(int64_t head_size, FoundTensor* tensor) {
  std::vector<SourcePiece> pieces;
  for (const SourcePiece& piece : tensor->pieces) {
    const std::vector<SourcePiece> halves = HalvesOfHeads(piece, head_size);
    pieces.insert(pieces.end(), halves.begin(), halves.end());
  }
  tensor->pieces = std::move(pieces);
}

}  // namespace

absl::StatusOr<QkvTensors> SplitQkv(const std::vector<FoundTensor>& parts, const QkvLayout& layout,
                                    const std::string& file) {
  QkvTensors out;
  for (FoundTensor* tensor : {&out.query, &out.key, &out.value}) {
    tensor->name = parts[0].name;
    tensor->type = parts[0].type;
    tensor->shape = parts[0].shape;
    if (tensor->shape.empty()) return NoWholeHeads(parts[0], file);
    tensor->shape[0] = 0;
  }
  const bool old = layout.version < 2.0;
  const int64_t group_rows = (layout.heads / layout.groups + 2) * layout.head_size;
  if (old && layout.groups != layout.heads) {
    return absl::FailedPreconditionError(absl::StrCat(
        "shard_loader: ", file, ": checkpoint_version is ", layout.version,
        ", which is older than grouped queries, but there are ", layout.groups, " groups"));
  }
  for (const FoundTensor& part : parts) {
    if (part.pieces.size() != 1 || part.shape.size() != parts[0].shape.size() ||
        part.shape[0] % group_rows != 0) {
      return NoWholeHeads(part, file);
    }
    if (old) {
      SplitOld(part.pieces[0], layout, part.shape[0] / 3, &out);
    } else {
      SplitGroups(part.pieces[0], layout, part.shape[0] / group_rows, &out);
    }
  }
  if (layout.interleaved) {
    Uninterleave(layout.head_size, &out.query);
    Uninterleave(layout.head_size, &out.key);
  }
  return out;
}

absl::StatusOr<GateUpTensors> SplitGateUp(const std::vector<FoundTensor>& parts,
                                          const std::string& file) {
  GateUpTensors out;
  for (FoundTensor* tensor : {&out.gate, &out.up}) {
    tensor->name = parts[0].name;
    tensor->type = parts[0].type;
    tensor->shape = parts[0].shape;
    if (tensor->shape.empty()) return NoWholeHeads(parts[0], file);
    tensor->shape[0] = 0;
  }
  for (const FoundTensor& part : parts) {
    if (part.pieces.size() != 1 || part.shape.size() != parts[0].shape.size() ||
        part.shape[0] % 2 != 0) {
      return absl::FailedPreconditionError(
          absl::StrCat("shard_loader: ", file, ": tensor '", Excerpt(part.name),
                       "' does not hold as many rows of gate as of up"));
    }
    const int64_t half = part.shape[0] / 2;
    Append(part.pieces[0], 0, half, 1, &out.gate);
    Append(part.pieces[0], half, half, 1, &out.up);
  }
  return out;
}

}  // namespace tessera::shard_loader
