// Products in the tiles of AMX: on emulated tiles wherever the rest of the code runs, and on the
// CPU's where it has them.
#include <algorithm>
#include <catch2/catch.hpp>
#include <string>

#include "tests/conformance/backend/cases.h"
#include "tests/conformance/backend/emulated_amx.h"
#include "tests/support/fixtures.h"
#include "worker/backend/cpu/cpu_backend.h"
#include "worker/backend/kernel_sets.h"

namespace tessera::tests {
namespace {

using shard_loader::Codes;
using shard_loader::DType;
using shard_loader::WeightFormat;

void NeedKernelSet(const std::string& name) {
  const auto sets = worker::AvailableKernelSets();
  if (std::find(sets.begin(), sets.end(), name) != sets.end()) return;
  SkipTest("this CPU does not run the kernel set " + name);
}

std::unique_ptr<worker::Backend> Emulated(int threads = 1) {
  return worker::MakeCpuBackend(worker::kAvx512VnniKernels, &worker::kEmulatedAmxKernels,
                                &worker::kEmulatedAmxKernels, threads, {});
}

TEST_CASE("emulated tiles give the bits of the portable set with coded matrices") {
  NeedKernelSet("avx512_bf16");
  const auto tiles = Emulated();
  const auto generic = *worker::MakeBackend("generic", 1);
  for (const WeightFormat& format :
       {WeightFormat(Codes::kInt8, 32, DType::kBF16), WeightFormat(Codes::kInt8, 64, DType::kF16),
        WeightFormat(Codes::kInt4, 32, DType::kF16), WeightFormat(Codes::kInt4, 128, DType::kBF16),
        WeightFormat(Codes::kInt4Offset, 32, DType::kF16)}) {
    const ProductCase cases[] = {{1, 16, 64, format},           {1, 1, 1, format},
                                 {7, 33, 100, format, 0, true}, {40, 70, 257, format},
                                 {5, 40, 515, format, 8},       {100, 17, 1024, format, 16}};
    for (const ProductCase& test : cases) {
      INFO(test.num_rows << " x " << test.columns << " x " << test.outputs << ", lanes "
                         << test.lanes << ", " << shard_loader::WeightFormatName(format));
      CHECK(SameBits(RunProduct(*tiles, test, 5), RunProduct(*generic, test, 5)));
    }
  }
}

TEST_CASE("emulated tiles sum pairs in bf16 within the rounding of their sums") {
  NeedKernelSet("avx512_bf16");
  const auto tiles = Emulated();
  const auto threads = Emulated(3);
  const auto reference = *worker::MakeBackend("reference", 1);
  const WeightFormat format = DType::kBF16;
  ProductCase cases[] = {{1, 16, 64, format},           {1, 1, 1, format},
                         {7, 33, 100, format, 0, true}, {40, 70, 257, format},
                         {5, 40, 515, format, 8},       {100, 600, 1024, format, 16}};
  for (ProductCase& test : cases) {
    test.bf16_inputs = true;
    INFO(test.num_rows << " x " << test.columns << " x " << test.outputs << ", lanes "
                       << test.lanes);
    const Floats found = RunProduct(*tiles, test, 5);
    const Floats expected = RunProduct(*reference, test, 5);
    // As in reference_test.cc.
    const double bound = 1.5 * test.columns * 0x1p-24 * test.columns * 16;
    CHECK(Distance(found, expected) <= bound);
    CHECK(SameBits(found, RunProduct(*threads, test, 5)));
  }
}

TEST_CASE("the CPU's tiles give the bits of the portable set with coded matrices") {
  NeedKernelSet("amx_int8");
  const auto tiles = *worker::MakeBackend("amx_int8", 1);
  const auto generic = *worker::MakeBackend("generic", 1);
  for (uint64_t seed = 0; seed < 60; ++seed) {
    INFO("seed " << seed);
    CHECK(SameBits(RunEverything(*tiles, seed), RunEverything(*generic, seed)));
  }
}

}  // namespace
}  // namespace tessera::tests
