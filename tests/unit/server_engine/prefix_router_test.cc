#include "server/engine/prefix_router.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

namespace tessera::server {
namespace {

using Ids = std::vector<uint32_t>;
using Loads = std::vector<int64_t>;

using Hashes = std::vector<uint64_t>;

// The beginnings of `blocks` blocks of 16 tokens, of which the last is its own.
Hashes Prompt(size_t blocks, uint32_t last, const std::string& scope = "") {
  Ids ids(blocks * 16, 7);
  for (size_t i = ids.size() - 16; i < ids.size(); ++i) ids[i] = last;
  return PrefixRouter::Beginnings(scope, ids);
}

TEST_CASE("beginnings are whole blocks, each with what is before it, and of one scope") {
  CHECK(PrefixRouter::Beginnings("", Ids(15, 7)).empty());
  CHECK(PrefixRouter::Beginnings("", Ids(47, 7)).size() == 2);
  CHECK(Prompt(3, 1)[1] == Prompt(3, 2)[1]);
  CHECK(Prompt(3, 1)[2] != Prompt(3, 2)[2]);
  CHECK(Prompt(3, 7)[0] != Prompt(3, 7)[1]);
  CHECK(Prompt(3, 1, "a")[0] != Prompt(3, 1, "b")[0]);
}

TEST_CASE("without a known beginning the least busy replica is chosen, the first of equal ones") {
  PrefixRouter router;
  CHECK(router.Choose(Prompt(4, 1), Loads{5, 2, 2}) == 1);
  CHECK(router.Choose(Hashes{}, Loads{0, 0, 0}) == 0);
}

TEST_CASE("the replica that has seen the longest beginning is chosen") {
  PrefixRouter router;
  router.Sent(Prompt(4, 1), 1);
  router.Sent(Prompt(2, 7), 2);  // two of the same blocks
  CHECK(router.Choose(Prompt(4, 9), Loads{0, 3, 0}) == 1);
  CHECK(router.Choose(Prompt(2, 9), Loads{3, 3, 2}) == 2);
}

TEST_CASE("a replica that is much busier is passed over, whatever it has seen") {
  PrefixRouter router;
  router.Sent(Prompt(4, 1), 1);
  CHECK(router.Choose(Prompt(4, 1), Loads{0, 4}) == 1);
  CHECK(router.Choose(Prompt(4, 1), Loads{0, 5}) == 0);
  CHECK(router.Choose(Prompt(4, 1), Loads{100, 125}) == 1);
  CHECK(router.Choose(Prompt(4, 1), Loads{100, 126}) == 0);
}

TEST_CASE("a replica that takes nothing is never chosen") {
  PrefixRouter router;
  router.Sent(Prompt(4, 1), 1);
  CHECK(router.Choose(Prompt(4, 1), Loads{3, -1}) == 0);
  CHECK(router.Choose(Prompt(4, 1), Loads{-1, -1}) == -1);
}

TEST_CASE("what was sent long ago is forgotten") {
  PrefixRouter router;
  router.Sent(Prompt(4, 1), 1);
  for (uint64_t i = 0; i < 140000; ++i) router.Sent(Hashes{i}, 0);
  CHECK(router.Choose(Prompt(4, 1), Loads{1, 1}) == 0);
}

TEST_CASE("a replica that lost what it had computed is chosen for nothing but its load") {
  PrefixRouter router;
  router.Sent(Prompt(4, 1), 1);
  router.Sent(Prompt(4, 2), 0);
  router.Forget(1);
  CHECK(router.Choose(Prompt(4, 1), Loads{1, 1}) == 0);
  CHECK(router.Choose(Prompt(4, 1), Loads{2, 1}) == 0);  // three blocks are like the other's
  CHECK(router.Choose(Prompt(1, 3), Loads{2, 1}) == 1);
}

}  // namespace
}  // namespace tessera::server
