// The device's kernels on a device, by the cases that the emulation is held to.
#include <catch2/catch.hpp>
#include <memory>
#include <string>

#include "tests/conformance/backend/cases.h"
#include "tests/conformance/cuda/cuda_cases.h"
#include "tests/conformance/cuda/device_backend.h"
#include "tests/conformance/cuda/draw_cases.h"
#include "tests/conformance/cuda/mixture_cases.h"
#include "tests/support/fixtures.h"
#include "worker/backend/cuda_library.h"

namespace tessera::tests {
namespace {

std::unique_ptr<DeviceBackend> Device(const char* kernel_set) {
  const auto facts = worker::FindCuda("");
  if (!facts.ok()) SkipTest(std::string(facts.status().message()));
  auto backend = worker::MakeCudaBackend("", kernel_set, facts->devices.front().index);
  INFO(backend.status().ToString());
  REQUIRE(backend.ok());
  return std::make_unique<DeviceBackend>(*std::move(backend));
}

TEST_CASE("the plugin of this build loads, and says what this machine has or lacks") {
  const auto facts = worker::FindCuda("");
  if (facts.ok()) {
    CHECK_FALSE(facts->devices.empty());
    return;
  }
  const std::string problem(facts.status().message());
  CHECK(problem.find("not found") == std::string::npos);
  CHECK(problem.find("cannot load") == std::string::npos);
  CHECK(problem.find("driver") != std::string::npos);
}

TEST_CASE("device: the exact order gives the CPU's bits for every operation") {
  ExactOrderIsTheCpus(*Device("cuda-exact"), 200);
}

TEST_CASE("device: products by mma are those of the reference, up to the narrowing") {
  ProductsAreTheReferences(*Device("cuda"));
}

TEST_CASE("device: a row of a product by mma has the same bits alone and among many") {
  RowsOfProductsStandAlone(*Device("cuda"));
}

TEST_CASE("device: attention by mma is that of the reference, up to the narrowing") {
  AttentionIsTheReferences(*Device("cuda"));
}

TEST_CASE("device: a row of attention has the same bits in a chunk, alone, tile by tile") {
  RowsOfAttentionStandAlone(*Device("cuda"));
}

TEST_CASE("device: tokens and logprobs are the CPU sampler's, bit for bit") {
  DrawsAreTheSamplers(Device("cuda")->device(), 400);
}

TEST_CASE("device: rows are drawn in parts that fit, and none where one does not") {
  DrawsFitTheirRoom(Device("cuda")->device());
}

TEST_CASE("device: experts and their weights are the router's, bit for bit") {
  ChoicesAreTheRouters(Device("cuda")->device(), 400);
}

TEST_CASE("device: sums of experts are those of one expert after the other, bit for bit") {
  SumsOfExpertsAreThoseOfOneAtATime(*Device("cuda-exact"), false);
  SumsOfExpertsAreThoseOfOneAtATime(*Device("cuda"), true);
}

TEST_CASE("device: every operation gives the same bits twice") {
  const auto device = Device("cuda");
  for (uint64_t seed = 0; seed < 100; ++seed) {
    INFO("seed " << seed);
    CHECK(SameBits(RunEverything(*device, seed), RunEverything(*device, seed)));
  }
}

}  // namespace
}  // namespace tessera::tests
