#include "server/kv/prefix_cache.h"

#include <catch2/catch.hpp>

namespace tessera::server {
namespace {

using Blocks = std::vector<uint32_t>;
using Ids = std::vector<uint32_t>;
using Chain = PrefixCache::Chain;

// Blocks of two tokens.
struct Cache {
  explicit Cache(uint32_t num_blocks, uint32_t hash_bits = 64)
      : pool(num_blocks), tree({.block_size = 2, .hash_bits = hash_bits}, &pool) {}

  // A sequence that computes all of `ids` and ends.
  void Run(const Ids& ids, const std::string& scope = "") {
    Chain chain = tree.Open(scope);
    Blocks blocks = Compute(chain, ids);
    tree.Release(chain, blocks);
  }
  Blocks Compute(Chain& chain, const Ids& ids) {
    Blocks found = tree.Find(chain, ids);
    tree.Take(chain, found);
    Blocks blocks = found;
    auto own = pool.Allocate(static_cast<uint32_t>((ids.size() + 1) / 2 - found.size()));
    REQUIRE(own.has_value());
    blocks.insert(blocks.end(), own->begin(), own->end());
    while ((chain.depth + 1) * 2 <= ids.size()) {
      tree.Enter(chain, blocks[chain.depth], absl::MakeConstSpan(ids).subspan(chain.depth * 2, 2));
    }
    return blocks;
  }
  size_t Found(const Ids& ids, const std::string& scope = "") {
    Chain chain = tree.Open(scope);
    size_t found = tree.Find(chain, ids).size();
    tree.Release(chain, {});
    return found;
  }

  BlockPool pool;
  PrefixCache tree;
};

TEST_CASE("a prefix is found in whole blocks, as far as the ids are equal") {
  Cache cache(8);
  CHECK(cache.Found({1, 2, 3, 4}) == 0);
  cache.Run({1, 2, 3, 4, 5});
  CHECK(cache.pool.num_available() == 8);
  CHECK(cache.tree.num_cached() == 2);
  CHECK(cache.Found({1, 2, 3, 4, 5, 6}) == 2);
  CHECK(cache.Found({1, 2, 3}) == 1);
  CHECK(cache.Found({1, 2, 9, 4}) == 1);
  CHECK(cache.Found({9, 2, 3, 4}) == 0);
  CHECK(cache.Found({3, 4}) == 0);  // equal ids behind another prefix are other keys
}

TEST_CASE("behind what is found, the block is named that begins with most of what follows") {
  Cache cache(8);
  cache.Run({1, 2, 3, 4});
  cache.Run({1, 2, 5, 6});
  Chain chain = cache.tree.Open("");
  auto partial = [&](const Ids& ids) {
    const Blocks found = cache.tree.Find(chain, ids);
    return cache.tree.FindPartial(ids, found);
  };
  const Blocks whole = cache.tree.Find(chain, {1, 2, 5, 6});
  REQUIRE(whole.size() == 2);
  CHECK(partial({1, 2, 5, 9}).block == whole[1]);
  CHECK(partial({1, 2, 5, 9}).tokens == 1);
  CHECK(partial({1, 2, 5}).tokens == 1);
  CHECK(partial({1, 2, 7, 4}).tokens == 0);
  CHECK(partial({1, 2}).tokens == 0);
  CHECK(partial({1, 2, 5, 6}).tokens == 0);  // nothing is behind it
  CHECK(partial({1, 9, 5, 6}).tokens == 0);  // no block of it is found
  cache.tree.Release(chain, {});
}

TEST_CASE("a scope sees nothing of another") {
  Cache cache(8);
  cache.Run({1, 2, 3, 4}, "a");
  CHECK(cache.Found({1, 2, 3, 4}, "b") == 0);
  cache.Run({1, 2}, "b");
  CHECK(cache.Found({1, 2, 3, 4}, "b") == 1);
  CHECK(cache.Found({1, 2, 3, 4}, "a") == 2);
}

TEST_CASE("a scope whose blocks are gone gives its place to another") {
  Cache cache(2);
  for (int i = 0; i < 100; ++i) {
    const std::string scope = "tenant " + std::to_string(i);
    CHECK(cache.Found({1, 2, 3, 4}, scope) == 0);
    cache.Run({1, 2, 3, 4}, scope);
    CHECK(cache.Found({1, 2, 3, 4}, scope) == 2);
  }
}

TEST_CASE("keys whose hashes collide are told apart by their ids") {
  Cache cache(64, /*hash_bits=*/1);
  for (uint32_t first = 0; first < 10; ++first) cache.Run({first, 7, 8, first});
  for (uint32_t first = 0; first < 10; ++first) {
    CHECK(cache.Found({first, 7, 8, first}) == 2);
    CHECK(cache.Found({first, 7, 8, first + 1}) == 1);
  }
}

TEST_CASE("the leaf that was not used for the longest time goes first") {
  Cache cache(5);
  cache.Run({1, 2, 3, 4});
  cache.Run({5, 6});
  cache.Run({1, 2, 7, 8});
  // Idle: [1 2][3 4], [5 6], and [7 8] behind [1 2]; one block is free.
  REQUIRE(cache.pool.Allocate(2).has_value());
  CHECK(cache.Found({1, 2, 3, 4}) == 1);
  CHECK(cache.Found({5, 6}) == 1);
  REQUIRE(cache.pool.Allocate(1).has_value());
  CHECK(cache.Found({5, 6}) == 0);
  CHECK(cache.Found({1, 2, 7, 8}) == 2);
  REQUIRE(cache.pool.Allocate(1).has_value());
  CHECK(cache.Found({1, 2, 7, 8}) == 1);
  REQUIRE(cache.pool.Allocate(1).has_value());
  CHECK(cache.tree.num_cached() == 0);
}

TEST_CASE("of two sequences that compute the same prefix at once the first one's is kept") {
  Cache cache(8);
  Chain first = cache.tree.Open("");
  Chain second = cache.tree.Open("");
  // Neither finds the other: both have blocks of their own before either enters.
  Blocks own = *cache.pool.Allocate(2);
  Blocks other = *cache.pool.Allocate(2);
  cache.tree.Enter(first, own[0], Ids{1, 2});
  cache.tree.Enter(second, other[0], Ids{1, 2});
  CHECK(second.closed);
  CHECK(second.depth == 0);
  cache.tree.Enter(first, own[1], Ids{3, 4});
  cache.tree.Release(first, own);
  cache.tree.Release(second, other);
  CHECK(cache.pool.num_available() == 8);
  CHECK(cache.pool.num_idle() == 2);
  CHECK(cache.Found({1, 2, 3, 4}) == 2);
}

TEST_CASE("a fork holds its part of the tree after its origin has ended") {
  Cache cache(4);
  Chain origin = cache.tree.Open("s");
  Blocks blocks = cache.Compute(origin, {1, 2, 3, 4, 5});
  Blocks shared = {blocks[0], blocks[1]};
  for (uint32_t block : shared) cache.pool.Share(block);
  Chain fork = cache.tree.Fork(origin, shared);
  cache.tree.Release(origin, blocks);
  CHECK(cache.pool.num_available() == 2);
  CHECK(cache.pool.num_idle() == 0);
  shared.push_back(cache.pool.Allocate(1)->front());
  cache.tree.Enter(fork, shared[2], Ids{8, 9});
  cache.tree.Release(fork, shared);
  CHECK(cache.Found({1, 2, 3, 4, 8, 9}, "s") == 3);
}

TEST_CASE("a cache that is turned off keeps and finds nothing") {
  BlockPool pool(4);
  PrefixCache cache({.block_size = 2, .enabled = false}, &pool);
  Chain chain = cache.Open("");
  Blocks blocks = *pool.Allocate(1);
  cache.Enter(chain, blocks[0], Ids{1, 2});
  CHECK(cache.Find(chain, Ids{1, 2}).empty());
  cache.Release(chain, blocks);
  CHECK(pool.num_idle() == 0);
}

}  // namespace
}  // namespace tessera::server
