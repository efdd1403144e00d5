// Every family's answers at every degree and on every instruction set: the same bits.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "tests/golden/model/family_runs.h"
#include "worker/backend/kernel_sets.h"

namespace tessera::tests {
namespace {

TEST_CASE("answers of every family are equal at every degree") {
  for (const std::string& name : FamilyCheckpoints()) {
    INFO(name);
    CHECK(CheckDegrees(name, {{1, 2}, {2, 1}, {2, 2}, {3, 1}, {4, 1}, {4, 2}, {8, 2}}) >= 6);
  }
}

TEST_CASE("answers of every format's checkpoint are equal at every degree") {
  int checked = 0;
  for (const std::string& name : FormatCheckpoints()) {
    INFO(name);
    CHECK(CheckDegrees(name, {{1, 2}, {2, 1}, {2, 2}, {3, 1}, {3, 2}, {4, 1}, {4, 2}}) == 7);
    ++checked;
  }
  CHECK(checked >= 25);
}

TEST_CASE("answers of every family are equal on every instruction set") {
  for (const std::string& name : FamilyCheckpoints()) {
    const std::vector<Answer> expected = RunFamily(name, {});
    for (const std::string& kernels : worker::AvailableKernelSets()) {
      if (*worker::KernelNumerics(kernels) != "fma16") continue;
      INFO(name << " with " << kernels);
      GroupOptions options;
      options.kernels = kernels;
      options.threads = kernels == "generic" ? 1 : 2;
      CheckSame(expected, RunFamily(name, options));
    }
  }
}

}  // namespace
}  // namespace tessera::tests
