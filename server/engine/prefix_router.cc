#include "server/engine/prefix_router.h"

#include <algorithm>
#include <limits>
#include <string_view>
#include <utility>

#include "absl/hash/hash.h"

namespace tessera::server {
namespace {

constexpr size_t kBlockTokens = 16;
constexpr size_t kMostBlocks = 256;  // of a prompt: what is behind them decides nothing
constexpr size_t kMostHashes = 1 << 17;
// How much busier than the least busy one a replica may be for the sake of what it has computed:
// so many requests, or a quarter more.
constexpr int64_t kSlack = 4;

}  // namespace

std::vector<uint64_t> PrefixRouter::Beginnings(std::string_view scope,
                                               absl::Span<const uint32_t> prompt) {
  std::vector<uint64_t> hashes;
  uint64_t hash = absl::HashOf(scope);
  while (prompt.size() >= kBlockTokens && hashes.size() < kMostBlocks) {
    hash = absl::HashOf(hash, prompt.first(kBlockTokens));
    hashes.push_back(hash);
    prompt.remove_prefix(kBlockTokens);
  }
  return hashes;
}

PrefixRouter::Replicas PrefixRouter::Where(uint64_t hash) const {
  Replicas where = 0;
  for (const auto* generation : {&young_, &old_}) {
    auto entry = generation->find(hash);
    if (entry != generation->end()) where |= entry->second;
  }
  return where;
}

int PrefixRouter::Choose(absl::Span<const uint64_t> beginnings,
                         absl::Span<const int64_t> loads) const {
  int64_t least = std::numeric_limits<int64_t>::max();
  for (int64_t load : loads) {
    if (load >= 0) least = std::min(least, load);
  }
  if (least == std::numeric_limits<int64_t>::max()) return -1;
  const int64_t most = least + std::max(kSlack, least / 4);
  std::vector<size_t> blocks(loads.size());  // of the prompt, that a replica has seen
  Replicas seen = ~Replicas{0};
  for (uint64_t hash : beginnings) {
    seen &= Where(hash);
    if (seen == 0) break;
    for (size_t i = 0; i < loads.size(); ++i) blocks[i] += seen >> i & 1;
  }
  int best = -1;
  for (size_t i = 0; i < loads.size(); ++i) {
    if (loads[i] < 0 || loads[i] > most) continue;
    const bool better = best < 0 || blocks[i] > blocks[best] ||
                        (blocks[i] == blocks[best] && loads[i] < loads[best]);
    if (better) best = static_cast<int>(i);
  }
  return best;
}

void PrefixRouter::Sent(absl::Span<const uint64_t> beginnings, int replica) {
  if (young_.size() > kMostHashes / 2) {
    old_ = std::move(young_);
    young_.clear();
  }
  for (uint64_t hash : beginnings) young_[hash] |= Replicas{1} << replica;
}

void PrefixRouter::Forget(int replica) {
  for (auto* generation : {&young_, &old_}) {
    for (auto& [hash, replicas] : *generation) replicas &= ~(Replicas{1} << replica);
  }
}

}  // namespace tessera::server
