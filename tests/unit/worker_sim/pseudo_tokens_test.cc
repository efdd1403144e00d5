#include "worker/sim/pseudo_tokens.h"

#include <catch2/catch.hpp>
#include <vector>

namespace tessera::worker {
namespace {

uint64_t HashOf(const std::vector<uint32_t>& ids) {
  uint64_t hash = 0;
  for (uint32_t id : ids) hash = ExtendLogHash(hash, id);
  return hash;
}

PseudoDraw Draw(uint64_t log_hash, uint64_t seed) {
  return {.log_hash = log_hash, .seed = seed, .index = 0, .vocab_size = 1000, .masked_ids = {}};
}

TEST_CASE("the hash of a log tells order and repetition apart") {
  CHECK(HashOf({1, 2}) != HashOf({2, 1}));
  CHECK(HashOf({0}) != HashOf({0, 0}));
  CHECK(HashOf({0}) != HashOf({}));
}

TEST_CASE("a draw follows from log, seed and index, and changes with each") {
  const uint64_t hash = HashOf({5, 6, 7});
  const uint32_t id = DrawPseudoId(Draw(hash, 3));
  CHECK(DrawPseudoId(Draw(hash, 3)) == id);
  CHECK(DrawPseudoId(Draw(hash, 4)) != id);
  CHECK(DrawPseudoId(Draw(HashOf({5, 6, 8}), 3)) != id);
  PseudoDraw second = Draw(hash, 3);
  second.index = 1;
  CHECK(DrawPseudoId(second) != id);
}

TEST_CASE("draws spread over the vocabulary") {
  std::vector<int> counts(10, 0);
  uint64_t hash = 0;
  for (int i = 0; i < 10000; ++i) {
    const uint32_t id = DrawPseudoId(Draw(hash, 1));
    REQUIRE(id < 1000);
    ++counts[id / 100];
    hash = ExtendLogHash(hash, id);
  }
  // 1,000 expected in each; five standard deviations of 30.
  for (int count : counts) CHECK(std::abs(count - 1000) < 150);
}

TEST_CASE("masked ids are not drawn") {
  PseudoDraw draw = Draw(HashOf({9}), 2);
  const std::vector<uint32_t> masked = {DrawPseudoId(draw)};
  draw.masked_ids = masked;
  CHECK(DrawPseudoId(draw) == (masked[0] + 1) % 1000);
}

TEST_CASE(
    "made-up logprobs are those of a distribution: negative, descending, the chosen one first") {
  const Token token = MakePseudoToken(998, 77, 4, 1000);
  REQUIRE(token.top.size() == 4);
  CHECK(token.top[0].id == 998);
  CHECK(token.top[0].logprob == token.logprob);
  CHECK(token.logprob < 0);
  CHECK(token.top[2].id == 0);
  CHECK(token.top[3].logprob < token.top[2].logprob);
  CHECK(MakePseudoToken(1, 77, 9, 3).top.size() == 3);
}

}  // namespace
}  // namespace tessera::worker
