// The device's kernels, run on this host thread by thread (tests/support/cuda_emulation): indices,
// barriers and orders. What an emulation cannot show is left to a device.
#include <cuda_runtime.h>

#include <catch2/catch.hpp>
#include <memory>

#include "tests/conformance/backend/cases.h"
#include "tests/conformance/cuda/cuda_cases.h"
#include "tests/conformance/cuda/device_backend.h"
#include "tests/conformance/cuda/draw_cases.h"
#include "tests/conformance/cuda/mixture_cases.h"
#include "worker/backend/cuda/cuda_backend.h"

namespace tessera::tests {
namespace {

using worker::cuda::Order;

std::unique_ptr<DeviceBackend> Device(Order order) {
  auto backend = worker::cuda::MakeCudaBackend({0, order});
  REQUIRE(backend.ok());
  return std::make_unique<DeviceBackend>(*std::move(backend));
}

TEST_CASE("emulated: the exact order gives the CPU's bits for every operation") {
  ExactOrderIsTheCpus(*Device(Order::kFma16), 10);
}

TEST_CASE("emulated: products by mma are those of the reference, up to the narrowing") {
  ProductsAreTheReferences(*Device(Order::kWide));
}

TEST_CASE("emulated: a row of a product by mma has the same bits alone and among many") {
  RowsOfProductsStandAlone(*Device(Order::kWide));
}

TEST_CASE("emulated: attention by mma is that of the reference, up to the narrowing") {
  AttentionIsTheReferences(*Device(Order::kWide));
}

TEST_CASE("emulated: a row of attention has the same bits in a chunk, alone, tile by tile") {
  RowsOfAttentionStandAlone(*Device(Order::kWide));
}

TEST_CASE("emulated: tokens and logprobs are the CPU sampler's, bit for bit") {
  DrawsAreTheSamplers(Device(Order::kWide)->device(), 8);
  Emulation::Shuffle(3);
  DrawsAreTheSamplers(Device(Order::kWide)->device(), 2);
  Emulation::Shuffle(0);
}

TEST_CASE("emulated: rows are drawn in parts that fit, and none where one does not") {
  DrawsFitTheirRoom(Device(Order::kWide)->device());
}

TEST_CASE("emulated: experts and their weights are the router's, bit for bit") {
  ChoicesAreTheRouters(Device(Order::kWide)->device(), 60);
  Emulation::Shuffle(5);
  ChoicesAreTheRouters(Device(Order::kWide)->device(), 12);
  Emulation::Shuffle(0);
}

TEST_CASE("emulated: sums of experts are those of one expert after the other, bit for bit") {
  SumsOfExpertsAreThoseOfOneAtATime(*Device(Order::kFma16), false);
  SumsOfExpertsAreThoseOfOneAtATime(*Device(Order::kWide), true);
}

TEST_CASE("emulated: threads of a block in another order give the same bits") {
  const auto device = Device(Order::kWide);
  for (uint64_t seed = 20; seed < 24; ++seed) {
    INFO("seed " << seed);
    Emulation::Shuffle(0);
    const Floats expected = RunEverything(*device, seed);
    for (uint64_t order : {1, 2}) {
      Emulation::Shuffle(order);
      CHECK(SameBits(expected, RunEverything(*device, seed)));
    }
    Emulation::Shuffle(0);
  }
}

}  // namespace
}  // namespace tessera::tests
