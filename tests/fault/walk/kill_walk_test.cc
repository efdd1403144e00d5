// Workers die and stop at random under 32 streams, and nobody notices.
#include <catch2/catch.hpp>

#include "tests/fault/walk/kill_walk.h"

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

TEST_CASE("a short walk of kills alone over two tensor-parallel ranks changes no stream") {
  WalkAndCheck({.layout = {"--tp", "2"}, .losses = 5, .streams = 8, .stops = false, .seed = 5});
}

}  // namespace
}  // namespace tessera::tests
