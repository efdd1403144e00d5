#include "worker/app/self_check.h"

#include <catch2/catch.hpp>

#include <algorithm>

#include "worker/backend/kernel_sets.h"

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

TEST_CASE("the list of kernel sets has a line for each, and says which one auto takes") {
  const std::string text = KernelSetsText({.kernels = "auto", .device = "cpu"});
  for (const KernelSetFacts& set : AllKernelSets()) {
    const size_t line = text.find("\n" + set.name + " ");
    REQUIRE(line != std::string::npos);
    const std::string rest = text.substr(line + 1, text.find('\n', line + 1) - line - 1);
    CHECK((rest.find("does not run: this CPU lacks " + set.needs) != std::string::npos) ==
          !set.runs_here);
    CHECK(rest.find(set.runs_here ? set.advice : "") != std::string::npos);
    CHECK((rest.find("auto takes it") != std::string::npos) ==
          (set.name == AvailableKernelSets().front()));
  }
  // What is forced changes nothing in it.
  CHECK(text == KernelSetsText({.kernels = "reference", .device = "cpu"}));
}

}  // namespace
}  // namespace tessera::worker
