#include "shard_loader/load/stretches.h"

#include <algorithm>
#include <utility>

namespace tessera::shard_loader {
namespace {

// Rows of which less than this part is read are left to the reads themselves: the gaps would cost
// more than the fetching ahead wins.
constexpr uint64_t kLeastShare = 4;
constexpr size_t kMostSpans = 64;

struct PieceSpan {
  FileSpan span;
  bool gapless = false;
  bool worth_it = false;
};

PieceSpan SpanOf(const PieceReads& reads) {
  const SourcePiece& part = reads.part;
  if (part.codec != Codec::kNone) {
    return {{part.file, part.record.offset, part.record.offset + part.record.bytes}, true, true};
  }
  const uint64_t bytes = (reads.count - 1) * reads.stride + reads.bytes;
  return {{part.file, part.offset, part.offset + bytes},
          reads.count == 1 || reads.stride == reads.bytes,
          reads.count == 1 || reads.bytes >= reads.stride / kLeastShare};
}

// Makes one of spans that touch.
void AddSpan(const FileSpan& span, std::vector<FileSpan>& spans) {
  if (!spans.empty()) {
    FileSpan& last = spans.back();
    if (last.file == span.file && span.begin >= last.begin && span.begin <= last.end) {
      last.end = std::max(last.end, span.end);
      return;
    }
  }
  spans.push_back(span);
}

Stretch StretchOf(const PartReads& part) {
  Stretch stretch{.parts = 1};
  uint64_t read = 0;
  bool gapless = !part.shared;
  for (const PieceReads& reads : part.pieces) {
    if (reads.count == 0) continue;
    const PieceSpan piece = SpanOf(reads);
    gapless = gapless && piece.gapless;
    read += piece.span.bytes();
    if (piece.worth_it) AddSpan(piece.span, stretch.spans);
  }
  // Pieces that overlap would be longer together.
  stretch.whole = gapless && stretch.spans.size() == 1 && stretch.bytes() == read;
  return stretch;
}

}  // namespace

uint64_t Stretch::bytes() const {
  uint64_t sum = 0;
  for (const FileSpan& span : spans) sum += span.bytes();
  return sum;
}

void AddPart(const PartReads& part, uint64_t most, std::vector<Stretch>& stretches) {
  Stretch next = StretchOf(part);
  if (!stretches.empty() && stretches.back().whole == next.whole) {
    Stretch joined = stretches.back();
    for (const FileSpan& span : next.spans) AddSpan(span, joined.spans);
    joined.parts += next.parts;
    const bool goes_on = next.whole ? joined.spans.size() == 1 &&
                                          joined.bytes() == stretches.back().bytes() + next.bytes()
                                    : joined.spans.size() <= kMostSpans;
    if (goes_on && joined.bytes() <= most) {
      stretches.back() = std::move(joined);
      return;
    }
  }
  stretches.push_back(std::move(next));
}

}  // namespace tessera::shard_loader
