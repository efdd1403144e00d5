// The network between hosts is cut at random under 32 streams, and nobody notices.
#include <catch2/catch.hpp>

#include "tests/fault/walk/cut_walk.h"

namespace tessera::tests {
namespace {

constexpr auto kFirst = TwoHosts::Host::kFirst;
constexpr auto kSecond = TwoHosts::Host::kSecond;

TEST_CASE("cuts between two tensor-parallel ranks change no stream") {
  CutAndCheck({.layout = {"--tp", "2"}, .workers = {kFirst, kSecond}, .cuts = 4, .seed = 1});
}

TEST_CASE("cuts between two stages change no stream") {
  CutAndCheck({.layout = {"--pp", "2"}, .workers = {kFirst, kSecond}, .cuts = 4, .seed = 2});
}

TEST_CASE("cuts of one of two replicas change no stream") {
  CutAndCheck({.layout = {"--dp", "2"},
               .workers = {kFirst, kSecond},
               .spared = true,
               .cuts = 4,
               .seed = 3});
}

}  // namespace
}  // namespace tessera::tests
