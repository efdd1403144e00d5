#include "server/kv/prefix_cache.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "absl/hash/hash.h"

namespace tessera::server {
namespace {

// Children of a node that FindPartial compares.
constexpr int kMostCompared = 64;

}  // namespace

PrefixCache::PrefixCache(const Options& options, BlockPool* pool)
    : options_(options),
      pool_(pool),
      nodes_(options.enabled ? size_t{pool->num_blocks()} + options.num_slots : 0),
      ids_(nodes_.size() * options.block_size),
      node_of_block_(pool->num_blocks(), kNone),
      tree_(0, Hash{this}, Equal{this}) {
  assert(options.enabled || options.num_slots == 0);
  for (uint32_t node = num_nodes(); node > 0; --node) free_nodes_.push_back(node - 1);
  for (uint32_t slot = options.num_slots; slot > 0; --slot) free_slots_.push_back(slot - 1);
  pool_->SetOnEvict([this](uint32_t block) { Evict(block); });
}

PrefixCache::Probe PrefixCache::MakeProbe(uint32_t parent, absl::Span<const uint32_t> ids) const {
  size_t hash = absl::HashOf(parent, ids);
  if (options_.hash_bits < 64) hash &= (size_t{1} << options_.hash_bits) - 1;
  return {parent, ids, hash};
}

absl::Span<const uint32_t> PrefixCache::IdsOf(uint32_t node) const {
  return absl::MakeConstSpan(ids_).subspan(size_t{node} * options_.block_size, options_.block_size);
}

bool PrefixCache::Holds(uint32_t node, const Probe& probe) const {
  return nodes_[node].parent == probe.parent && IdsOf(node) == probe.ids;
}

uint32_t PrefixCache::ParentOf(const Chain& chain) const {
  return chain.depth > 0 ? chain.tail : num_nodes() + chain.scope;
}

PrefixCache::Chain PrefixCache::Open(const std::string& scope) {
  auto [entry, added] = scope_by_name_.try_emplace(scope, 0);
  if (added) {
    auto unused = std::find_if(scopes_.begin(), scopes_.end(),
                               [](const Scope& each) { return each.users == 0; });
    if (unused == scopes_.end()) unused = scopes_.insert(unused, Scope{});
    unused->name = scope;
    entry->second = static_cast<uint32_t>(unused - scopes_.begin());
  }
  ++scopes_[entry->second].users;
  Chain chain;
  chain.scope = entry->second;
  return chain;
}

void PrefixCache::LeaveScope(uint32_t scope) {
  if (--scopes_[scope].users == 0) scope_by_name_.erase(scopes_[scope].name);
}

void PrefixCache::Release(Chain& chain, absl::Span<const uint32_t> blocks) {
  for (auto block = blocks.rbegin(); block != blocks.rend(); ++block) pool_->Release(*block);
  LeaveScope(chain.scope);
  chain = Chain();
}

std::vector<uint32_t> PrefixCache::Walk(uint32_t parent, absl::Span<const uint32_t> ids,
                                        bool in_blocks) const {
  std::vector<uint32_t> nodes;
  while (options_.enabled && ids.size() >= options_.block_size) {
    auto it = tree_.find(MakeProbe(parent, ids.first(options_.block_size)));
    if (it == tree_.end() || (nodes_[*it].block != kNone) != in_blocks) break;
    parent = *it;
    nodes.push_back(parent);
    ids.remove_prefix(options_.block_size);
  }
  return nodes;
}

std::vector<uint32_t> PrefixCache::Find(const Chain& chain, absl::Span<const uint32_t> ids) const {
  std::vector<uint32_t> found = Walk(num_nodes() + chain.scope, ids, /*in_blocks=*/true);
  for (uint32_t& each : found) each = nodes_[each].block;
  return found;
}

std::vector<uint32_t> PrefixCache::FindSpilled(const Chain& chain, absl::Span<const uint32_t> ids,
                                               absl::Span<const uint32_t> found) const {
  if (num_spilled() == 0) return {};
  const uint32_t parent = found.empty() ? num_nodes() + chain.scope : node_of_block_[found.back()];
  return Walk(parent, ids.subspan(found.size() * options_.block_size), /*in_blocks=*/false);
}

PrefixCache::Partial PrefixCache::FindPartial(absl::Span<const uint32_t> ids,
                                              absl::Span<const uint32_t> found) const {
  Partial best;
  const size_t whole = found.size() * options_.block_size;
  if (found.empty() || ids.size() <= whole) return best;
  ids.remove_prefix(whole);
  uint32_t node = nodes_[node_of_block_[found.back()]].child;
  for (int i = 0; node != kNone && i < kMostCompared; ++i, node = nodes_[node].right) {
    if (nodes_[node].block == kNone) continue;
    const absl::Span<const uint32_t> own = IdsOf(node);
    const auto differ = std::mismatch(own.begin(), own.end(), ids.begin(), ids.end());
    const auto tokens = static_cast<uint32_t>(differ.first - own.begin());
    if (tokens > best.tokens) best = {nodes_[node].block, tokens};
  }
  return best;
}

void PrefixCache::Take(Chain& chain, absl::Span<const uint32_t> found) {
  assert(chain.depth == 0);
  for (uint32_t block : found) pool_->Share(block);
  chain.depth = static_cast<uint32_t>(found.size());
  if (!found.empty()) chain.tail = node_of_block_[found.back()];
}

std::vector<uint32_t> PrefixCache::Fetch(Chain& chain, absl::Span<const uint32_t> spilled) {
  // Blocks are evicted for them, and no slot of theirs may be given up for those.
  for (uint32_t node : spilled) UnlinkSlot(node);
  std::vector<uint32_t> blocks;
  for (uint32_t node : spilled) {
    const uint32_t block = pool_->Allocate(1).value().front();
    const uint32_t slot = std::exchange(nodes_[node].slot, kNone);
    Owe({slot, block, BlockCopy::Kind::kFetch});
    free_slots_.push_back(slot);
    PutInBlock(node, block);
    blocks.push_back(block);
    chain.tail = node;
    ++chain.depth;
    ++fetched_total_;
  }
  return blocks;
}

PrefixCache::Chain PrefixCache::Fork(const Chain& from, absl::Span<const uint32_t> blocks) {
  Chain chain;
  chain.scope = from.scope;
  ++scopes_[chain.scope].users;
  chain.depth = std::min(from.depth, static_cast<uint32_t>(blocks.size()));
  if (chain.depth > 0) chain.tail = node_of_block_[blocks[chain.depth - 1]];
  chain.closed = from.closed;
  return chain;
}

void PrefixCache::Enter(Chain& chain, uint32_t block, absl::Span<const uint32_t> ids) {
  if (!options_.enabled) return;
  assert(ids.size() == options_.block_size && !chain.closed);
  const Probe probe = MakeProbe(ParentOf(chain), ids);
  auto it = tree_.find(probe);
  if (it != tree_.end()) {
    const uint32_t node = *it;
    if (nodes_[node].block == kNone) {  // computed again rather than fetched
      UnlinkSlot(node);
      free_slots_.push_back(std::exchange(nodes_[node].slot, kNone));
      PutInBlock(node, block);
    }
    chain.closed = nodes_[node].block != block;
    if (chain.closed) return;
    ++chain.depth;
    chain.tail = node;
    return;
  }
  const uint32_t node = free_nodes_.back();
  free_nodes_.pop_back();
  nodes_[node] = {.parent = probe.parent, .hash = probe.hash};
  if (at_root(nodes_[node])) ++scopes_[chain.scope].users;
  LinkChild(node);
  std::copy(ids.begin(), ids.end(), ids_.begin() + size_t{node} * options_.block_size);
  tree_.insert(node);
  PutInBlock(node, block);
  ++chain.depth;
  chain.tail = node;
}

void PrefixCache::PutInBlock(uint32_t node, uint32_t block) {
  nodes_[node].block = block;
  node_of_block_[block] = node;
  pool_->Keep(block);
}

void PrefixCache::LinkSlot(uint32_t node) {
  nodes_[node].before = last_spilled_;
  (last_spilled_ == kNone ? first_spilled_ : nodes_[last_spilled_].after) = node;
  last_spilled_ = node;
}

void PrefixCache::UnlinkSlot(uint32_t node) {
  Node& n = nodes_[node];
  (n.before == kNone ? first_spilled_ : nodes_[n.before].after) = n.after;
  (n.after == kNone ? last_spilled_ : nodes_[n.after].before) = n.before;
  n.before = n.after = kNone;
}

void PrefixCache::LinkChild(uint32_t node) {
  Node& n = nodes_[node];
  if (at_root(n)) return;
  n.right = std::exchange(nodes_[n.parent].child, node);
  if (n.right != kNone) nodes_[n.right].left = node;
}

void PrefixCache::UnlinkChild(uint32_t node) {
  const Node& n = nodes_[node];
  if (at_root(n)) return;
  (n.left == kNone ? nodes_[n.parent].child : nodes_[n.left].right) = n.right;
  if (n.right != kNone) nodes_[n.right].left = n.left;
}

void PrefixCache::Evict(uint32_t block) {
  const uint32_t node = std::exchange(node_of_block_[block], kNone);
  const bool spills = spills_ && options_.num_slots > 0;
  if (spills && free_slots_.empty() && first_spilled_ != kNone) Drop(first_spilled_);
  nodes_[node].block = kNone;
  if (!spills || free_slots_.empty()) {
    Drop(node);
    return;
  }
  nodes_[node].slot = free_slots_.back();
  free_slots_.pop_back();
  LinkSlot(node);
  Owe({block, nodes_[node].slot, BlockCopy::Kind::kSpill});
  ++spilled_total_;
}

void PrefixCache::Drop(uint32_t node) {
  while (nodes_[node].child != kNone) Drop(nodes_[node].child);
  const Node& n = nodes_[node];
  if (n.slot != kNone) {
    UnlinkSlot(node);
    free_slots_.push_back(n.slot);
  }
  tree_.erase(node);
  UnlinkChild(node);
  if (at_root(n)) LeaveScope(n.parent - num_nodes());
  free_nodes_.push_back(node);
}

}  // namespace tessera::server
