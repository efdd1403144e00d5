#include "shard_loader/io/isolated.h"

#include <signal.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <string>

namespace tessera::shard_loader {
namespace {

TEST_CASE("what a child computes comes whole, and changes nothing here") {
  int here = 1;
  const std::string large(1 << 20, 'x');
  const auto answer = RunIsolated(large.size(), [&] {
    here = 2;
    return large;
  });
  REQUIRE(answer.ok());
  CHECK(*answer == large);
  CHECK(here == 1);
  CHECK(RunIsolated(0, [] { return std::string(); }).value().empty());
}

TEST_CASE("a child that ends early is an error") {
  const auto message = [](absl::FunctionRef<std::string()> compute) {
    const auto answer = RunIsolated(1000, compute);
    CHECK(absl::IsDataLoss(answer.status()));
    return std::string(answer.status().message());
  };
  CHECK(message([]() -> std::string {
          raise(SIGKILL);
          return "";
        }) == "the library that reads it crashed on it");
  CHECK(message([]() -> std::string { _exit(0); }) == "the library that reads it crashed on it");
  CHECK(message([]() -> std::string {
          raise(SIGXCPU);
          return "";
        }) == "reading its headers takes more than a minute");
  CHECK(message([] { return std::string(1001, 'x'); }) == "it has more entries than can be taken");
}

}  // namespace
}  // namespace tessera::shard_loader
