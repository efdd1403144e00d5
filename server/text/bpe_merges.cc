#include "server/text/bpe_merges.h"

#include <algorithm>
#include <bit>
#include <optional>
#include <queue>
#include <utility>

namespace tessera::server {
namespace {

// Rows up to this are merged by looking for the best pair again and again.
constexpr size_t kShortRow = 48;
// Longer rows than this are merged in parts of this length, which stay in the cache.
constexpr size_t kPart = 4096;

void MergeShort(const MergeTable& merges, std::vector<BpeSymbol>* row) {
  MergeTable::Merge pairs[kShortRow];
  size_t size = row->size();
  BpeSymbol* symbols = row->data();
  for (size_t i = 0; i + 1 < size; ++i) pairs[i] = merges.Find(symbols[i].id, symbols[i + 1].id);
  while (size > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < size; ++i) {
      if (pairs[i].rank < pairs[best].rank) best = i;
    }
    if (pairs[best].rank == MergeTable::kNoRank) break;
    symbols[best] = {pairs[best].result, symbols[best].length + symbols[best + 1].length};
    std::copy(symbols + best + 2, symbols + size, symbols + best + 1);
    if (best + 2 < size) std::copy(pairs + best + 2, pairs + size - 1, pairs + best + 1);
    --size;
    if (best > 0) pairs[best - 1] = merges.Find(symbols[best - 1].id, symbols[best].id);
    if (best + 1 < size) pairs[best] = merges.Find(symbols[best].id, symbols[best + 1].id);
  }
  row->resize(size);
}

// A linked list over the row with a heap of the pairs that may merge.
void MergeLong(const MergeTable& merges, std::vector<BpeSymbol>* row) {
  struct Link {
    uint32_t previous, next;
  };
  struct Candidate {
    uint32_t rank, position, left, right;
    bool operator<(const Candidate& other) const {  // std::priority_queue takes the greatest
      return rank != other.rank ? rank > other.rank : position > other.position;
    }
  };
  const auto size = static_cast<uint32_t>(row->size());
  constexpr uint32_t kGone = 0;  // the length of a symbol that is part of another now
  std::vector<BpeSymbol>& symbols = *row;
  std::vector<Link> links(size);
  for (uint32_t i = 0; i < size; ++i) links[i] = {i - 1, i + 1};  // before 0: wraps, never read
  std::vector<Candidate> initial;
  initial.reserve(size);
  const auto candidate = [&](uint32_t position) -> Candidate {
    const uint32_t left = symbols[position].id;
    const uint32_t right = symbols[links[position].next].id;
    return {merges.Find(left, right).rank, position, left, right};
  };
  for (uint32_t i = 0; i + 1 < size; ++i) {
    const Candidate found = candidate(i);
    if (found.rank != MergeTable::kNoRank) initial.push_back(found);
  }
  std::priority_queue<Candidate> queue(std::less<Candidate>(), std::move(initial));
  const auto push = [&](uint32_t position) {
    const Candidate found = candidate(position);
    if (found.rank != MergeTable::kNoRank) queue.push(found);
  };
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    const uint32_t at = best.position;
    const uint32_t next = links[at].next;
    if (symbols[at].length == kGone || symbols[at].id != best.left || next >= size ||
        symbols[next].id != best.right) {
      continue;
    }
    symbols[at] = {merges.Find(best.left, best.right).result,
                   symbols[at].length + symbols[next].length};
    symbols[next].length = kGone;
    links[at].next = links[next].next;
    if (links[at].next < size) {
      links[links[at].next].previous = at;
      push(at);
    }
    if (at > 0) push(links[at].previous);
  }
  std::erase_if(symbols, [](const BpeSymbol& symbol) { return symbol.length == kGone; });
}

void MergeWhole(const MergeTable& merges, std::vector<BpeSymbol>* row) {
  row->size() <= kShortRow ? MergeShort(merges, row) : MergeLong(merges, row);
}

// Merges a long row part by part. Why this is exact: merging proceeds by (rank, position), so a
// merge across the border of two finished neighbours A|B happens in the whole row if and only if it
// happens in the symbols of A and B alone; hence a row of finished symbols is the result for the
// whole if and only if every pair of neighbours, taken apart into its first symbols and merged,
// gives itself. The parts are right inside; only the pair at each border is in doubt, and where it
// fails, a widening window around the border is merged again until its two borders hold.
class PartMerger {
 public:
  // Borrows both.
  PartMerger(const MergeTable& merges, const std::vector<BpeSymbol>& row)
      : merges_(merges), row_(row) {}

  // The merged row; nullopt where some border could not be settled within a part's length.
  std::optional<std::vector<BpeSymbol>> Run() {
    for (size_t begin = 0; begin < row_.size(); begin += kPart) {
      const size_t end = std::min(begin + kPart, row_.size());
      std::vector<Piece> part = Merge(begin, end);
      if (!pieces_.empty() && !Join(&part)) return std::nullopt;
      pieces_.insert(pieces_.end(), part.begin(), part.end());
      if (pieces_.size() > 4 * kPart) Finish(pieces_.size() - 2 * kPart);
    }
    Finish(pieces_.size());
    return std::move(merged_);
  }

 private:
  // A finished symbol and the first symbols [begin, end) of row_ that it was made of.
  struct Piece {
    BpeSymbol symbol;
    size_t begin, end;
  };

  std::vector<Piece> Merge(size_t begin, size_t end) {
    scratch_.assign(row_.begin() + static_cast<ptrdiff_t>(begin),
                    row_.begin() + static_cast<ptrdiff_t>(end));
    MergeWhole(merges_, &scratch_);
    std::vector<Piece> pieces;
    pieces.reserve(scratch_.size());
    size_t at = begin;
    for (const BpeSymbol& symbol : scratch_) {
      const size_t start = at;
      for (uint32_t length = 0; length < symbol.length; ++at) length += row_[at].length;
      pieces.push_back({symbol, start, at});
    }
    return pieces;
  }

  bool Holds(const Piece& left, const Piece& right) {
    const std::vector<Piece> merged = Merge(left.begin, right.end);
    return merged.size() == 2 && merged[0].end == left.end;
  }

  // Settles the border between pieces_ and the part that follows; both are changed near it.
  bool Join(std::vector<Piece>* part) {
    if (Holds(pieces_.back(), part->front())) return true;
    for (size_t width = 4;; width *= 2) {
      const size_t left = std::min(width, pieces_.size());
      const size_t right = std::min(width, part->size());
      const size_t before = pieces_.size() - left;
      std::vector<Piece> window = Merge(pieces_[before].begin, (*part)[right - 1].end);
      const bool left_holds = before == 0 || Holds(pieces_[before - 1], window.front());
      const bool right_holds = right == part->size() || Holds(window.back(), (*part)[right]);
      if (left_holds && right_holds) {
        pieces_.resize(before);
        pieces_.insert(pieces_.end(), window.begin(), window.end());
        part->erase(part->begin(), part->begin() + static_cast<ptrdiff_t>(right));
        return true;
      }
      if (width >= kPart) return false;
    }
  }

  // The first `count` pieces are out of every window's reach.
  void Finish(size_t count) {
    for (size_t i = 0; i < count; ++i) merged_.push_back(pieces_[i].symbol);
    pieces_.erase(pieces_.begin(), pieces_.begin() + static_cast<ptrdiff_t>(count));
  }

  const MergeTable& merges_;
  const std::vector<BpeSymbol>& row_;
  std::vector<BpeSymbol> scratch_;
  std::vector<BpeSymbol> merged_;
  std::vector<Piece> pieces_;  // behind merged_
};

}  // namespace

MergeTable::MergeTable(size_t count) {
  const size_t capacity = std::bit_ceil(std::max<size_t>(16, count * 2));
  slots_.resize(capacity);
  mask_ = capacity - 1;
  shift_ = 64 - std::countr_zero(capacity);
}

void MergeTable::Insert(uint32_t left, uint32_t right, Merge merge) {
  const uint64_t key = uint64_t{left} << 32 | right;
  size_t i = Hash(key);
  while (slots_[i & mask_].key != kEmpty && slots_[i & mask_].key != key) ++i;
  slots_[i & mask_] = {key, merge};
}

void MergeSymbols(const MergeTable& merges, std::vector<BpeSymbol>* row) {
  if (row->size() <= 2 * kPart) {
    MergeWhole(merges, row);
    return;
  }
  if (auto merged = PartMerger(merges, *row).Run()) {
    *row = *std::move(merged);
  } else {
    MergeLong(merges, row);
  }
}

}  // namespace tessera::server
