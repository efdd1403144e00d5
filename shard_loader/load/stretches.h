// How parts of weights that are read one after the other are fetched ahead of their turn. Pure
// arithmetic.
#ifndef TESSERA_SHARD_LOADER_LOAD_STRETCHES_H_
#define TESSERA_SHARD_LOADER_LOAD_STRETCHES_H_

#include <cstdint>
#include <vector>

#include "shard_loader/load/source_piece.h"

namespace tessera::shard_loader {

struct FileSpan {
  int file = 0;
  uint64_t begin = 0;
  uint64_t end = 0;
  uint64_t bytes() const { return end - begin; }
};

// What is fetched at once, for some parts that follow one another.
struct Stretch {
  // What the parts read lies in these, and between narrow gaps some that they do not read. What is
  // not worth fetching ahead is in none.
  std::vector<FileSpan> spans;
  bool whole = false;  // one span without gaps, and no other rank reads of it
  int parts = 0;
  uint64_t bytes() const;
};

// A part as its pieces are read.
struct PartReads {
  std::vector<PieceReads> pieces;
  bool shared = false;  // by ranks that may run on this host
};

// Puts a part behind the others: into the last stretch where it goes on in its files, else into a
// new one. A stretch of several parts has at most `most` bytes.
void AddPart(const PartReads& part, uint64_t most, std::vector<Stretch>& stretches);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_LOAD_STRETCHES_H_
