// Which blocks hold which tokens, so that a prompt that begins like an earlier one finds its keys
// and values computed.
#ifndef TESSERA_SERVER_KV_PREFIX_CACHE_H_
#define TESSERA_SERVER_KV_PREFIX_CACHE_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/types/span.h"
#include "server/kv/block_copy.h"
#include "server/kv/block_pool.h"

namespace tessera::server {

// A tree of full blocks: a node's key is its parent node and its token ids, which are compared,
// never only their hash. The roots are scopes: nodes of one are not found from another. A sequence
// that holds a block of the tree holds all of its ancestors, and lets go of the deepest first; so
// what is idle longest is always a leaf of those in blocks.
//
// The contents of a node lie in a block or, once that is given out, in a slot outside the cache, as
// far as there are slots: never in both. An ancestor of one in a block is in a block. Slots
// are given up in the order in which they were filled: children before their parents, as blocks
// are. All of it is bookkeeping: TakeCopies says what the workers are to do for it. Owned by one
// thread.
class PrefixCache {
 public:
  struct Options {
    uint32_t block_size = 16;  // tokens
    bool enabled = true;       // false: nothing is kept and nothing found
    uint32_t num_slots = 0;    // for the contents of evicted blocks
    uint32_t hash_bits = 64;   // of the keys; tests take fewer to have them collide
  };

  // The part of a sequence that is in the tree: its first `depth` blocks.
  struct Chain {
    uint32_t scope = 0;
    uint32_t depth = 0;
    uint32_t tail = kNone;  // the deepest one's node
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
  // The nodes in slots that go on behind `found`, which Find gave for the same. Valid as long.
  std::vector<uint32_t> FindSpilled(const Chain& chain, absl::Span<const uint32_t> ids,
                                    absl::Span<const uint32_t> found) const;
  // A block behind `found`, which Find gave for the same ids and which is not empty, that holds the
  // most of the tokens which follow, but not all of its own: it can be copied. Looks at the
  // youngest ones alone where very many go on from there. Valid as long.
  struct Partial {
    uint32_t block = 0;
    uint32_t tokens = 0;  // none: there is no such block
  };
  Partial FindPartial(absl::Span<const uint32_t> ids, absl::Span<const uint32_t> found) const;
  // The sequence takes what Find gave, which becomes the beginning of its empty chain.
  void Take(Chain& chain, absl::Span<const uint32_t> found);
  // It takes what FindSpilled gave, or the first ones of it, behind that: they are fetched into the
  // blocks that are returned, allocated for it. The pool has as many available.
  std::vector<uint32_t> Fetch(Chain& chain, absl::Span<const uint32_t> spilled);
  // The chain of a fork that shares `blocks`, the first ones of `from`'s sequence.
  Chain Fork(const Chain& from, absl::Span<const uint32_t> blocks);
  // Block number `chain.depth` of the sequence holds `ids` (a block full), and every step that
  // writes it has been reported. The chain is not closed.
  void Enter(Chain& chain, uint32_t block, absl::Span<const uint32_t> ids);

  // Evicted blocks are lost from now on, not spilled: to compute them again is cheaper.
  void SetSpills(bool spills) { spills_ = spills; }
  // One more copy that the next step is to run, behind those that are owed.
  void Owe(const BlockCopy& copy) { copies_.push_back(copy); }
  // Everything owed, in order: the next step runs it before anything else.
  std::vector<BlockCopy> TakeCopies() { return std::exchange(copies_, {}); }

  // Nodes in blocks, and in slots.
  uint32_t num_cached() const { return static_cast<uint32_t>(tree_.size()) - num_spilled(); }
  uint32_t num_spilled() const {
    return options_.num_slots - static_cast<uint32_t>(free_slots_.size());
  }
  uint32_t num_slots() const { return options_.num_slots; }
  // Blocks, since the start.
  uint64_t spilled_total() const { return spilled_total_; }
  uint64_t fetched_total() const { return fetched_total_; }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  struct Node {
    uint32_t parent = kNone;  // node; or, of the first, the number of nodes + scope
    size_t hash = 0;
    uint32_t block = kNone;
    uint32_t slot = kNone;
    // Its first child, and the others of its parent.
    uint32_t child = kNone;
    uint32_t left = kNone;
    uint32_t right = kNone;
    // Of the list of those in slots, the first filled first.
    uint32_t before = kNone;
    uint32_t after = kNone;
  };
  struct Probe {
    uint32_t parent;
    absl::Span<const uint32_t> ids;
    size_t hash;
  };
  struct Hash {
    using is_transparent = void;
    const PrefixCache* cache;
    size_t operator()(uint32_t node) const { return cache->nodes_[node].hash; }
    size_t operator()(const Probe& probe) const { return probe.hash; }
  };
  struct Equal {
    using is_transparent = void;
    const PrefixCache* cache;
    bool operator()(uint32_t a, uint32_t b) const { return a == b; }
    bool operator()(uint32_t node, const Probe& probe) const { return cache->Holds(node, probe); }
    bool operator()(const Probe& probe, uint32_t node) const { return cache->Holds(node, probe); }
  };

  uint32_t num_nodes() const { return static_cast<uint32_t>(nodes_.size()); }
  bool at_root(const Node& node) const { return node.parent >= num_nodes(); }
  Probe MakeProbe(uint32_t parent, absl::Span<const uint32_t> ids) const;
  uint32_t ParentOf(const Chain& chain) const;
  absl::Span<const uint32_t> IdsOf(uint32_t node) const;
  bool Holds(uint32_t node, const Probe& probe) const;
  // The nodes of the longest prefix of `ids` under `parent`, those in blocks or those in slots.
  std::vector<uint32_t> Walk(uint32_t parent, absl::Span<const uint32_t> ids, bool in_blocks) const;
  // The node's contents lie in `block` from now on, and in no slot.
  void PutInBlock(uint32_t node, uint32_t block);
  void LinkSlot(uint32_t node);
  void UnlinkSlot(uint32_t node);
  void LinkChild(uint32_t node);
  void UnlinkChild(uint32_t node);
  void Evict(uint32_t block);
  // Forgets a node and, before it, those behind it, which are in slots.
  void Drop(uint32_t node);
  void LeaveScope(uint32_t scope);

  const Options options_;
  BlockPool* const pool_;
  std::vector<Node> nodes_;              // [num_blocks + num_slots]: as many as there are places
  std::vector<uint32_t> ids_;            // [nodes, block_size]
  std::vector<uint32_t> free_nodes_;     // a stack
  std::vector<uint32_t> node_of_block_;  // [num_blocks]; of those in the tree
  absl::flat_hash_set<uint32_t, Hash, Equal> tree_;

  std::vector<uint32_t> free_slots_;  // a stack
  uint32_t first_spilled_ = kNone;
  uint32_t last_spilled_ = kNone;
  bool spills_ = true;
  std::vector<BlockCopy> copies_;
  uint64_t spilled_total_ = 0;
  uint64_t fetched_total_ = 0;

  struct Scope {
    std::string name;
    uint32_t users = 0;  // chains, and nodes at the root
  };
  std::vector<Scope> scopes_;  // those without users are taken anew
  std::map<std::string, uint32_t> scope_by_name_;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_KV_PREFIX_CACHE_H_
