// Which of several replicas a request goes to.
#ifndef TESSERA_SERVER_ENGINE_PREFIX_ROUTER_H_
#define TESSERA_SERVER_ENGINE_PREFIX_ROUTER_H_

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"

namespace tessera::server {

// A request goes where the longest beginning of its prompt was sent before, since its keys and
// values are likely to lie there, unless that replica is much busier than the least busy one; then,
// and for want of such a beginning, to the least busy. What is remembered is a guess, by hashes:
// wrong it costs time, never an answer. Thread-compatible.
class PrefixRouter {
 public:
  static constexpr size_t kMostReplicas = 64;

  // Hashes of the prompt's beginnings in whole blocks, the shortest first. Nothing is alike in two
  // scopes.
  static std::vector<uint64_t> Beginnings(std::string_view scope,
                                          absl::Span<const uint32_t> prompt);

  // `loads`: requests that live there, by replica; a negative one takes nothing now. -1 where none
  // does.
  int Choose(absl::Span<const uint64_t> beginnings, absl::Span<const int64_t> loads) const;
  // A prompt with these beginnings goes to `replica`.
  void Sent(absl::Span<const uint64_t> beginnings, int replica);
  // The replica has lost what it had computed.
  void Forget(int replica);

 private:
  using Replicas = uint64_t;  // a bit for every one
  Replicas Where(uint64_t hash) const;

  // Two generations: when the younger is full, the older goes.
  absl::flat_hash_map<uint64_t, Replicas> young_, old_;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_ENGINE_PREFIX_ROUTER_H_
