#include "server/kv/block_pool.h"

#include <catch2/catch.hpp>

namespace tessera::server {
namespace {

using Blocks = std::vector<uint32_t>;

TEST_CASE("a new pool gives out its blocks in ascending order") {
  BlockPool pool(4);
  CHECK(pool.Allocate(3) == Blocks{0, 1, 2});
  CHECK(pool.num_free() == 1);
  CHECK(pool.num_blocks() == 4);
}

TEST_CASE("too few free blocks are a value and take nothing") {
  BlockPool pool(2);
  CHECK_FALSE(pool.Allocate(3).has_value());
  CHECK(pool.num_free() == 2);
  CHECK(pool.Allocate(2) == Blocks{0, 1});
  CHECK_FALSE(pool.Allocate(1).has_value());
  CHECK(pool.Allocate(0) == Blocks{});
}

TEST_CASE("a freed block is given out again") {
  BlockPool pool(3);
  REQUIRE(pool.Allocate(3).has_value());
  pool.Free(Blocks{1, 2});
  CHECK(pool.num_free() == 2);
  CHECK(pool.Allocate(2) == Blocks{1, 2});
}

}  // namespace
}  // namespace tessera::server
