// Workers die and stop at random under 32 streams, and nobody notices.
#include <catch2/catch.hpp>

#include "tests/fault/walk/kill_walk.h"
#include "tests/support/fixtures.h"

namespace tessera::tests {
namespace {

TEST_CASE("a short walk of kills and stops over two tensor-parallel ranks changes no stream") {
  WalkAndCheck({.layout = {"--tp", "2"}, .losses = 6, .seed = 1});
}

TEST_CASE("a short walk of kills and stops over two stages changes no stream") {
  WalkAndCheck({.layout = {"--pp", "2"}, .losses = 6, .seed = 2});
}

TEST_CASE("a short walk of kills and stops over two replicas changes no stream") {
  WalkAndCheck({.layout = {"--dp", "2", "--tp", "2"}, .losses = 8, .seed = 3});
}

TEST_CASE("a short walk of kills and stops over ranks that guess tokens changes no stream") {
  WalkAndCheck({.layout = {"--tp", "2", "--speculate", "ngram"}, .losses = 6, .seed = 4});
}

TEST_CASE("a short walk of kills and stops over ranks that a draft model guesses for") {
  WalkAndCheck({.layout = {"--tp", "2", "--draft", DemoModel().string()},
                .losses = 4,
                .streams = 16,
                .seed = 6});
}

TEST_CASE("a short walk of kills and stops over a cache that keeps what it evicts elsewhere") {
  const v1::ServerStatus status =
      WalkAndCheck({.layout = {"--tp", "2", "--num-kv-blocks", "100", "--kv-offload", "64MiB"},
                    .losses = 4,
                    .at_once = false,  // who waits for room may not gain a token in the meantime
                    .seed = 7});
  CHECK(status.engine().blocks_fetched_total() > 0);
}

TEST_CASE("a short walk of kills alone over two tensor-parallel ranks changes no stream") {
  WalkAndCheck({.layout = {"--tp", "2"}, .losses = 5, .streams = 8, .stops = false, .seed = 5});
}

}  // namespace
}  // namespace tessera::tests
