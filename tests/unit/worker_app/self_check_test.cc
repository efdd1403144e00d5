#include "worker/app/self_check.h"

#include <catch2/catch.hpp>

#include <algorithm>

namespace tessera::worker {
namespace {

TEST_CASE("the self check names what every machine has") {
  nlohmann::json check = SelfCheckJson({.kernels = "auto"});
  CHECK(check["threads"] > 0);
  CHECK(check["memory_bytes"] > 0);
  CHECK_FALSE(check["host"].get<std::string>().empty());
  CHECK(check["device"].get<std::string>().find("cpu: ") == 0);
  CHECK(check["kernels"].back()["name"] == "reference");
  auto comms = check["comms"];
  CHECK(std::find(comms.begin(), comms.end(), "shm") != comms.end());
}

TEST_CASE("a worker that is told to offers one kernel set only") {
  nlohmann::json check = SelfCheckJson({.kernels = "reference"});
  REQUIRE(check["kernels"].size() == 1);
  CHECK(check["kernels"][0]["name"] == "reference");
}

}  // namespace
}  // namespace tessera::worker
