// Contents of evicted blocks in slots: what is spilled, fetched and given up, and in which order.
#include <catch2/catch.hpp>

#include "server/kv/offload_costs.h"
#include "server/kv/prefix_cache.h"

namespace tessera::server {
namespace {

using Numbers = std::vector<uint32_t>;
using Chain = PrefixCache::Chain;
using Kind = BlockCopy::Kind;
using Copies = std::vector<BlockCopy>;

// Blocks of two tokens.
struct Cache {
  Cache(uint32_t num_blocks, uint32_t num_slots, uint32_t hash_bits = 64)
      : pool(num_blocks),
        tree({.block_size = 2, .num_slots = num_slots, .hash_bits = hash_bits}, &pool) {}

  // A sequence that takes what is found of `ids`, fetches what is spilled, computes the rest, and
  // ends. Returns the blocks that were fetched.
  size_t Run(const Numbers& ids, const std::string& scope = "", bool fetches = true) {
    Chain chain = tree.Open(scope);
    Numbers blocks = tree.Find(chain, ids);
    Numbers spilled = tree.FindSpilled(chain, ids, blocks);
    if (!fetches) spilled.clear();
    tree.Take(chain, blocks);
    const Numbers fetched = tree.Fetch(chain, spilled);
    blocks.insert(blocks.end(), fetched.begin(), fetched.end());
    const auto own = pool.Allocate(static_cast<uint32_t>((ids.size() + 1) / 2 - blocks.size()));
    REQUIRE(own.has_value());
    blocks.insert(blocks.end(), own->begin(), own->end());
    while (!chain.closed && (chain.depth + 1) * 2 <= ids.size()) {
      tree.Enter(chain, blocks[chain.depth], absl::MakeConstSpan(ids).subspan(chain.depth * 2, 2));
    }
    tree.Release(chain, blocks);
    return fetched.size();
  }
  size_t Spilled(const Numbers& ids, const std::string& scope = "") {
    Chain chain = tree.Open(scope);
    const size_t count = tree.FindSpilled(chain, ids, tree.Find(chain, ids)).size();
    tree.Release(chain, {});
    return count;
  }

  BlockPool pool;
  PrefixCache tree;
};

TEST_CASE("evicted blocks go to slots, children first, and are fetched parents first") {
  Cache cache(2, 4);
  cache.Run({1, 2, 3, 4});
  CHECK(cache.tree.TakeCopies().empty());
  cache.Run({5, 6, 7, 8});
  CHECK(cache.tree.TakeCopies() == Copies{{1, 0, Kind::kSpill}, {0, 1, Kind::kSpill}});
  CHECK(cache.tree.num_spilled() == 2);
  CHECK(cache.tree.num_cached() == 2);
  CHECK(cache.Run({1, 2, 3, 4}) == 2);
  // The block of each is evicted first, and the slot that a fetch leaves is free at once.
  const Copies copies = cache.tree.TakeCopies();
  REQUIRE(copies.size() == 4);
  CHECK(copies[0].kind == Kind::kSpill);
  CHECK(copies[1] == BlockCopy{1, copies[0].from, Kind::kFetch});
  CHECK(copies[2] == BlockCopy{copies[2].from, 1, Kind::kSpill});
  CHECK(copies[3] == BlockCopy{0, copies[2].from, Kind::kFetch});
  CHECK(cache.tree.num_spilled() == 2);
  CHECK(cache.tree.spilled_total() == 4);
  CHECK(cache.tree.fetched_total() == 2);
}

TEST_CASE("the slot that was filled first is given up, a child before its parent") {
  Cache cache(2, 3);
  cache.Run({1, 2, 3, 4});
  cache.Run({5, 6, 7, 8});
  CHECK(cache.Spilled({1, 2, 3, 4}) == 2);
  cache.Run({9, 9, 9, 8});  // the fourth to be spilled
  CHECK(cache.Spilled({1, 2, 3, 4}) == 1);
  CHECK(cache.Spilled({5, 6, 7, 8}) == 2);
  CHECK(cache.tree.num_spilled() == 3);
}

TEST_CASE("a parent that is computed or fetched again keeps its spilled children") {
  for (bool fetches : {false, true}) {
    Cache cache(3, 8);
    cache.Run({1, 2, 3, 4, 5, 6});
    cache.Run({7, 7, 7, 7, 7, 7});
    CHECK(cache.Spilled({1, 2, 3, 4, 5, 6}) == 3);
    CHECK(cache.Run({1, 2, 3}, "", fetches) == (fetches ? 1 : 0));
    CHECK(cache.Spilled({1, 2, 3, 4, 5, 6}) == 2);
    CHECK(cache.Run({1, 2, 3, 4, 5, 6}) == 2);
  }
}

TEST_CASE("a block that is not spilled takes what is spilled behind it along") {
  Cache cache(2, 8);
  cache.Run({1, 2, 3, 4});
  cache.Run({5});  // evicts the child alone
  CHECK(cache.Spilled({1, 2, 3, 4}) == 1);
  cache.tree.SetSpills(false);
  cache.Run({5, 6, 7, 8});
  CHECK(cache.tree.num_spilled() == 0);
  cache.tree.SetSpills(true);
  cache.Run({9, 2, 3, 4});  // a node of another parent takes its place
  CHECK(cache.Spilled({9, 2, 3, 4}) == 0);
  CHECK(cache.Spilled({1, 2, 3, 4}) == 0);
}

TEST_CASE(
    "spilled blocks of another scope or with other ids are not found, even where hashes collide") {
  Cache cache(2, 8, /*hash_bits=*/0);
  cache.Run({1, 2, 3, 4}, "a");
  cache.Run({5, 6, 7, 8}, "b");
  CHECK(cache.Spilled({1, 2, 3, 4}, "a") == 2);
  CHECK(cache.Spilled({1, 2, 3, 4}, "b") == 0);
  CHECK(cache.Spilled({1, 2, 4, 3}, "a") == 1);
  CHECK(cache.Spilled({2, 1, 3, 4}, "a") == 0);
}

TEST_CASE("a fetch is cheaper where it takes less time than to compute the tokens that it saves") {
  CHECK(FetchIsCheaper({.block_seconds = 1}, 4, 1));  // what computing costs is not known
  CHECK_FALSE(FetchIsCheaper({.block_seconds = 1}, 0, 0));
  CHECK(FetchIsCheaper({.block_seconds = 1, .token_seconds = 0.1}, 2, 32));
  CHECK_FALSE(FetchIsCheaper({.block_seconds = 2, .token_seconds = 0.1}, 2, 32));
  CHECK_FALSE(FetchIsCheaper({.block_seconds = 1, .token_seconds = 0.1}, 1, 0));
}

TEST_CASE("the pace of prompts is told by steps that mostly compute them") {
  PromptPace pace;
  pace.Add(100, 40, 1);
  pace.Add(10, 10, 1);
  CHECK(pace.token_seconds() == 0);
  pace.Add(100, 60, 1);
  CHECK(pace.token_seconds() == Approx(0.01));
  pace.Add(100, 100, 2);
  CHECK(pace.token_seconds() == Approx(0.012));
}

}  // namespace
}  // namespace tessera::server
