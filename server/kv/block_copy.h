// A copy of one KV block's contents, in all layers, as a step orders it: plain data.
#ifndef TESSERA_SERVER_KV_BLOCK_COPY_H_
#define TESSERA_SERVER_KV_BLOCK_COPY_H_

#include <cstdint>

namespace tessera::server {

// Blocks are numbered, and so are the slots outside the cache (host memory or a file) that keep the
// contents of evicted ones.
//
// The copies of all steps are one list, in the order in which the server decided them, and every
// rank runs it in that order: steps one after the other, the copies of a step before anything of it
// is computed. So a block or slot holds, when its copy is run, what it held on the server's books
// when the copy was decided, and either may be given out again at once: what reads it comes before
// what writes it. Of what a block holds on the books everything has been written by a step that
// was reported, by an earlier copy, or will be by an earlier step.
struct BlockCopy {
  enum class Kind {
    kCopy,   // block to block
    kSpill,  // block to slot
    kFetch,  // slot to block
  };
  uint32_t from = 0;
  uint32_t to = 0;
  Kind kind = Kind::kCopy;

  friend bool operator==(const BlockCopy&, const BlockCopy&) = default;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_KV_BLOCK_COPY_H_
