#include "worker/backend/kernel_sets.h"

#include <catch2/catch.hpp>

#include <algorithm>

#include "worker/backend/backend.h"

namespace tessera::worker {
namespace {

TEST_CASE("every machine runs the generic set and the reference, best first") {
  const std::vector<std::string> sets = AvailableKernelSets();
  REQUIRE(sets.size() >= 2);
  CHECK(std::find(sets.begin(), sets.end(), "generic") != sets.end());
  CHECK(sets.back() == "reference");
}

TEST_CASE("auto is the best set, and a name is itself") {
  CHECK(*ResolveKernelSet("auto") == AvailableKernelSets().front());
  for (const std::string& set : AvailableKernelSets()) CHECK(*ResolveKernelSet(set) == set);
}

TEST_CASE("auto takes no set of other numerics than the portable one's") {
  CHECK(*KernelNumerics(*ResolveKernelSet("auto")) == *KernelNumerics("generic"));
}

TEST_CASE("a set that does not exist is refused with those that do") {
  const auto set = ResolveKernelSet("sse9");
  REQUIRE(absl::IsInvalidArgument(set.status()));
  CHECK_THAT(std::string(set.status().message()),
             Catch::Contains("'sse9'") && Catch::Contains("generic"));
  CHECK(absl::IsInvalidArgument(KernelNumerics("sse9").status()));
  CHECK(absl::IsInvalidArgument(MakeBackend("sse9", 1).status()));
}

TEST_CASE("all sets of the build are listed, with what those lack that do not run here") {
  std::vector<std::string> running;
  for (const KernelSetFacts& set : AllKernelSets()) {
    CHECK(set.numerics == *KernelNumerics(set.name));
    // What auto takes needs no word for it.
    CHECK((set.advice.empty() || set.name != AvailableKernelSets().front()));
    if (set.runs_here) {
      running.push_back(set.name);
      continue;
    }
    CHECK_FALSE(set.needs.empty());
    const auto refused = ResolveKernelSet(set.name);
    REQUIRE(absl::IsFailedPrecondition(refused.status()));
    CHECK_THAT(std::string(refused.status().message()), Catch::Contains("needs " + set.needs));
  }
  CHECK(running == AvailableKernelSets());
}

TEST_CASE("sets that give equal bits have one name of numerics") {
  CHECK(*KernelNumerics("generic") == "fma16");
  CHECK(*KernelNumerics("reference") == "reference");
  for (const std::string& set : AvailableKernelSets()) {
    CHECK((*KernelNumerics(set) == "fma16") ==
          (set != "reference" && set != "avx512_bf16" && set != "amx_bf16"));
  }
}

}  // namespace
}  // namespace tessera::worker
