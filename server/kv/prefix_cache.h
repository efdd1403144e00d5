// Which blocks hold which tokens, so that a prompt that begins like an earlier one finds its keys
// and values computed.
#ifndef TESSERA_SERVER_KV_PREFIX_CACHE_H_
#define TESSERA_SERVER_KV_PREFIX_CACHE_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/types/span.h"
#include "server/kv/block_pool.h"

namespace tessera::server {

// A tree of full blocks: a block's key is its parent block and its token ids, which are compared,
// never only their hash. The roots are scopes: blocks of one are not found from another. A sequence
// that holds a block of the tree holds all of its ancestors, and lets go of the deepest first; so
// what is idle longest is always a leaf. Owned by one thread.
class PrefixCache {
 public:
  struct Options {
    uint32_t block_size = 16;  // tokens
    bool enabled = true;       // false: nothing is kept and nothing found
    uint32_t hash_bits = 64;   // of the keys; tests take fewer to have them collide
  };

  // The part of a sequence that is in the tree: its first `depth` blocks.
  struct Chain {
    uint32_t scope = 0;
    uint32_t depth = 0;
    uint32_t tail = kNone;  // the deepest one's block
    // Another sequence's block with the same tokens came first: what is behind it is not entered.
    bool closed = false;
  };

  // `pool` is borrowed, and evicts through this object from now on.
  PrefixCache(const Options& options, BlockPool* pool);

  // An empty chain of a sequence. Scopes are what must be equal for keys and values to be: weights,
  // numerics, and whatever keeps tenants apart.
  Chain Open(const std::string& scope);
  // The sequence lets go of its `blocks`, in their order, and of its chain.
  void Release(Chain& chain, absl::Span<const uint32_t> blocks);

  // Blocks of the tree that hold the longest prefix of `ids`, in whole blocks. Valid until blocks
  // are allocated.
  std::vector<uint32_t> Find(const Chain& chain, absl::Span<const uint32_t> ids) const;
  // The sequence takes what Find gave, which becomes the beginning of its empty chain.
  void Take(Chain& chain, absl::Span<const uint32_t> found);
  // The chain of a fork that shares `blocks`, the first ones of `from`'s sequence.
  Chain Fork(const Chain& from, absl::Span<const uint32_t> blocks);
  // Block number `chain.depth` of the sequence holds `ids` (a block full), and every step that
  // writes it has been reported. The chain is not closed.
  void Enter(Chain& chain, uint32_t block, absl::Span<const uint32_t> ids);

  uint32_t num_cached() const { return static_cast<uint32_t>(tree_.size()); }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  struct Node {
    uint32_t parent = kNone;  // block; or, of the first, num_blocks + scope
    size_t hash = 0;
  };
  struct Probe {
    uint32_t parent;
    absl::Span<const uint32_t> ids;
    size_t hash;
  };
  struct Hash {
    using is_transparent = void;
    const PrefixCache* cache;
    size_t operator()(uint32_t block) const { return cache->nodes_[block].hash; }
    size_t operator()(const Probe& probe) const { return probe.hash; }
  };
  struct Equal {
    using is_transparent = void;
    const PrefixCache* cache;
    bool operator()(uint32_t a, uint32_t b) const { return a == b; }
    bool operator()(uint32_t block, const Probe& probe) const { return cache->Holds(block, probe); }
    bool operator()(const Probe& probe, uint32_t block) const { return cache->Holds(block, probe); }
  };

  Probe MakeProbe(uint32_t parent, absl::Span<const uint32_t> ids) const;
  uint32_t ParentOf(const Chain& chain) const;
  absl::Span<const uint32_t> IdsOf(uint32_t block) const;
  bool Holds(uint32_t block, const Probe& probe) const;
  void Evict(uint32_t block);
  void LeaveScope(uint32_t scope);

  const Options options_;
  BlockPool* const pool_;
  std::vector<Node> nodes_;    // [num_blocks]
  std::vector<uint32_t> ids_;  // [num_blocks, block_size]
  absl::flat_hash_set<uint32_t, Hash, Equal> tree_;

  struct Scope {
    std::string name;
    uint32_t users = 0;  // chains, and blocks at the root
  };
  std::vector<Scope> scopes_;  // those without users are taken anew
  std::map<std::string, uint32_t> scope_by_name_;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_KV_PREFIX_CACHE_H_
