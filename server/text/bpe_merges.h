// Byte-pair encoding proper: merging a row of symbols by a ranked table of pairs
// (Sennrich, Haddow and Birch 2016).
#ifndef TESSERA_SERVER_TEXT_BPE_MERGES_H_
#define TESSERA_SERVER_TEXT_BPE_MERGES_H_

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace tessera::server {

// A symbol of a word: a token with its bytes.
struct BpeSymbol {
  uint32_t id;
  uint32_t length;  // in bytes
};

// A hash table from pairs of ids to the rank of their merge and its result. Thread-safe once
// filled.
class MergeTable {
 public:
  struct Merge {
    uint32_t rank, result;
  };
  static constexpr uint32_t kNoRank = 0xFFFFFFFF;

  // For `count` merges at most.
  explicit MergeTable(size_t count = 0);
  // A pair that is there already takes the new rank and result.
  void Insert(uint32_t left, uint32_t right, Merge merge);
  // rank is kNoRank where the pair does not merge.
  Merge Find(uint32_t left, uint32_t right) const {
    const uint64_t key = uint64_t{left} << 32 | right;
    for (size_t i = Hash(key);; ++i) {
      const Slot& slot = slots_[i & mask_];
      if (slot.key == key) return slot.merge;
      if (slot.key == kEmpty) return {kNoRank, 0};
    }
  }

 private:
  static constexpr uint64_t kEmpty = ~uint64_t{0};
  struct Slot {
    uint64_t key = kEmpty;
    Merge merge = {kNoRank, 0};
  };
  size_t Hash(uint64_t key) const {
    key *= 0x9E3779B97F4A7C15u;
    return key >> shift_;
  }
  std::vector<Slot> slots_;
  size_t mask_;
  int shift_;
};

// Merges the row until no pair of neighbours is in the table: always the pair of the lowest rank,
// of equal ones the leftmost. Time is linear in the row's length, but for rows on which no cut can
// be proved (then n log n).
void MergeSymbols(const MergeTable& merges, std::vector<BpeSymbol>* row);

}  // namespace tessera::server

#endif  // TESSERA_SERVER_TEXT_BPE_MERGES_H_
