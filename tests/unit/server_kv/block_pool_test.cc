#include "server/kv/block_pool.h"

#include <catch2/catch.hpp>

namespace tessera::server {
namespace {

using Blocks = std::vector<uint32_t>;

TEST_CASE("a new pool gives out its blocks in ascending order") {
  BlockPool pool(4);
  CHECK(pool.Allocate(3) == Blocks{0, 1, 2});
  CHECK(pool.num_available() == 1);
  CHECK(pool.num_blocks() == 4);
}

TEST_CASE("too few free blocks are a value and take nothing") {
  BlockPool pool(2);
  CHECK_FALSE(pool.Allocate(3).has_value());
  CHECK(pool.num_available() == 2);
  CHECK(pool.Allocate(2) == Blocks{0, 1});
  CHECK_FALSE(pool.Allocate(1).has_value());
  CHECK(pool.Allocate(0) == Blocks{});
}

TEST_CASE("a released block is given out again") {
  BlockPool pool(3);
  REQUIRE(pool.Allocate(3).has_value());
  for (uint32_t block : {2, 1}) pool.Release(block);
  CHECK(pool.num_available() == 2);
  CHECK(pool.Allocate(2) == Blocks{1, 2});
}

TEST_CASE("a shared block is free when its last holder releases it") {
  BlockPool pool(1);
  pool.Allocate(1);
  pool.Share(0);
  pool.Release(0);
  CHECK(pool.num_available() == 0);
  pool.Release(0);
  CHECK(pool.num_available() == 1);
}

TEST_CASE("kept blocks are idle, and go when nothing is free, the longest idle first") {
  BlockPool pool(3);
  Blocks evicted;
  pool.SetOnEvict([&](uint32_t block) { evicted.push_back(block); });
  pool.Allocate(3);
  pool.Keep(0);
  pool.Keep(2);
  for (uint32_t block : {2, 1, 0}) pool.Release(block);
  CHECK(pool.num_available() == 3);
  CHECK(pool.num_idle() == 2);
  CHECK(pool.Allocate(2) == Blocks{1, 2});
  CHECK(evicted == Blocks{2});
  pool.Release(2);  // it is an ordinary block again
  CHECK(pool.num_idle() == 1);
  CHECK(pool.Allocate(2) == Blocks{2, 0});
  CHECK(evicted == Blocks{2, 0});
}

TEST_CASE("an idle block that is shared anew becomes idle as the last") {
  BlockPool pool(2);
  pool.Allocate(2);
  pool.Keep(0);
  pool.Keep(1);
  pool.Release(0);
  pool.Release(1);
  pool.Share(0);
  pool.Release(0);
  CHECK(pool.Allocate(1) == Blocks{1});
}

}  // namespace
}  // namespace tessera::server
