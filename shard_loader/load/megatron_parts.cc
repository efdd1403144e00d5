#include "shard_loader/load/megatron_parts.h"

#include <algorithm>
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

// Adds rows [first, first + count) of `from` at the end of `to`.
void Append(const FoundTensor& from, int64_t first, int64_t count, FoundTensor* to) {
  for (const SourcePiece& piece : from.pieces) {
    const int64_t begin = std::max(piece.rows.begin, first);
    const int64_t end = std::min(piece.rows.end, first + count);
    if (begin >= end) continue;
    const SourcePiece part = RowsOf(piece, {begin - piece.rows.begin, end - piece.rows.begin});
    to->pieces.push_back(MovedTo(part, to->shape[0] + begin - first, piece.columns.begin));
  }
  to->shape[0] += count;
}

// Adds every third row of a rank.
void AppendThird(const SourcePiece& from, int64_t first, int64_t count, FoundTensor* to) {
  SourcePiece piece = RowsOf(from, {first, first + count});
  piece.row_stride *= 3;
  to->pieces.push_back(MovedTo(piece, to->shape[0], 0));
  to->shape[0] += count;
}

// The rows of one rank, of a version before grouped queries.
void SplitOld(const FoundTensor& rows, const QkvLayout& layout, int64_t count, QkvTensors* out) {
  FoundTensor* const tensors[] = {&out->query, &out->key, &out->value};
  for (int64_t i = 0; i < 3; ++i) {
    if (layout.version < 1.0) {
      Append(rows, i * count, count, tensors[i]);
    } else {
      AppendThird(rows.pieces[0], i, count, tensors[i]);
    }
  }
}

void SplitGroups(const FoundTensor& rows, const QkvLayout& layout, int64_t groups,
                 QkvTensors* out) {
  const int64_t queries = layout.heads / layout.groups * layout.head_size;
  const int64_t group_rows = queries + 2 * layout.head_size;
  for (int64_t group = 0; group < groups; ++group) {
    const int64_t first = group * group_rows;
    Append(rows, first, queries, &out->query);
    Append(rows, first + queries, layout.head_size, &out->key);
    Append(rows, first + queries + layout.head_size, layout.head_size, &out->value);
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
    if ((old && part.pieces.size() != 1) || part.shape.size() != parts[0].shape.size() ||
        part.shape[0] % group_rows != 0) {
      return NoWholeHeads(part, file);
    }
    if (old) {
      SplitOld(part, layout, part.shape[0] / 3, &out);
    } else {
      SplitGroups(part, layout, part.shape[0] / group_rows, &out);
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
    if (part.shape.size() != parts[0].shape.size() || part.shape[0] % 2 != 0) {
      return absl::FailedPreconditionError(
          absl::StrCat("shard_loader: ", file, ": tensor '", Excerpt(part.name),
                       "' does not hold as many rows of gate as of up"));
    }
    const int64_t half = part.shape[0] / 2;
    Append(part, 0, half, &out.gate);
    Append(part, half, half, &out.up);
  }
  return out;
}

}  // namespace tessera::shard_loader
