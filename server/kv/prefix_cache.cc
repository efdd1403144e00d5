#include "server/kv/prefix_cache.h"

#include <algorithm>
#include <cassert>

#include "absl/hash/hash.h"

namespace tessera::server {

PrefixCache::PrefixCache(const Options& options, BlockPool* pool)
    : options_(options),
      pool_(pool),
      nodes_(pool->num_blocks()),
      ids_(options.enabled ? size_t{pool->num_blocks()} * options.block_size : 0),
      tree_(0, Hash{this}, Equal{this}) {
  pool_->SetOnEvict([this](uint32_t block) { Evict(block); });
}

PrefixCache::Probe PrefixCache::MakeProbe(uint32_t parent, absl::Span<const uint32_t> ids) const {
  size_t hash = absl::HashOf(parent, ids);
  if (options_.hash_bits < 64) hash &= (size_t{1} << options_.hash_bits) - 1;
  return {parent, ids, hash};
}

absl::Span<const uint32_t> PrefixCache::IdsOf(uint32_t block) const {
  return absl::MakeConstSpan(ids_).subspan(size_t{block} * options_.block_size,
                                           options_.block_size);
}

bool PrefixCache::Holds(uint32_t block, const Probe& probe) const {
  return nodes_[block].parent == probe.parent && IdsOf(block) == probe.ids;
}

uint32_t PrefixCache::ParentOf(const Chain& chain) const {
  return chain.depth > 0 ? chain.tail : pool_->num_blocks() + chain.scope;
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

std::vector<uint32_t> PrefixCache::Find(const Chain& chain, absl::Span<const uint32_t> ids) const {
  std::vector<uint32_t> found;
  uint32_t parent = pool_->num_blocks() + chain.scope;
  while (options_.enabled && ids.size() >= options_.block_size) {
    auto it = tree_.find(MakeProbe(parent, ids.first(options_.block_size)));
    if (it == tree_.end()) break;
    parent = *it;
    found.push_back(parent);
    ids.remove_prefix(options_.block_size);
  }
  return found;
}

void PrefixCache::Take(Chain& chain, absl::Span<const uint32_t> found) {
  assert(chain.depth == 0);
  for (uint32_t block : found) pool_->Share(block);
  chain.depth = static_cast<uint32_t>(found.size());
  if (!found.empty()) chain.tail = found.back();
}

PrefixCache::Chain PrefixCache::Fork(const Chain& from, absl::Span<const uint32_t> blocks) {
  Chain chain;
  chain.scope = from.scope;
  ++scopes_[chain.scope].users;
  chain.depth = std::min(from.depth, static_cast<uint32_t>(blocks.size()));
  if (chain.depth > 0) chain.tail = blocks[chain.depth - 1];
  chain.closed = from.closed;
  return chain;
}

void PrefixCache::Enter(Chain& chain, uint32_t block, absl::Span<const uint32_t> ids) {
  if (!options_.enabled) return;
  assert(ids.size() == options_.block_size && !chain.closed);
  const Probe probe = MakeProbe(ParentOf(chain), ids);
  auto it = tree_.find(probe);
  chain.closed = it != tree_.end() && *it != block;
  if (chain.closed) return;
  ++chain.depth;
  chain.tail = block;
  if (it != tree_.end()) return;  // a fork shares it
  if (probe.parent >= pool_->num_blocks()) ++scopes_[chain.scope].users;
  nodes_[block] = {probe.parent, probe.hash};
  std::copy(ids.begin(), ids.end(), ids_.begin() + size_t{block} * options_.block_size);
  tree_.insert(block);
  pool_->Keep(block);
}

void PrefixCache::Evict(uint32_t block) {
  tree_.erase(block);
  if (nodes_[block].parent >= pool_->num_blocks()) {
    LeaveScope(nodes_[block].parent - pool_->num_blocks());
  }
}

}  // namespace tessera::server
