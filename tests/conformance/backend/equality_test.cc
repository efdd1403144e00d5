// The same bits from every instruction set, for every number of rows and of threads.
#include <catch2/catch.hpp>
#include <memory>
#include <string>

#include "shard_loader/plan/packed_layout.h"
#include "tests/conformance/backend/cases.h"
#include "worker/backend/kernel_sets.h"
#include "worker/tensor/convert.h"

namespace tessera::tests {
namespace {

using shard_loader::DType;

std::unique_ptr<worker::Backend> Make(const std::string& kernels, int threads = 1) {
  auto backend = worker::MakeBackend(kernels, threads);
  REQUIRE(backend.ok());
  return *std::move(backend);
}

TEST_CASE("all sets of one numerics give equal bits for every operation") {
  const auto generic = Make("generic");
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const Floats expected = RunEverything(*generic, seed);
    for (const std::string& kernels : worker::AvailableKernelSets()) {
      if (*worker::KernelNumerics(kernels) != *worker::KernelNumerics("generic")) continue;
      INFO("kernel set " << kernels << ", seed " << seed);
      CHECK(SameBits(expected, RunEverything(*Make(kernels), seed)));
    }
  }
}

TEST_CASE("threads do not change a bit") {
  for (const std::string& kernels : worker::AvailableKernelSets()) {
    const auto one = Make(kernels);
    const auto four = Make(kernels, 4);
    for (uint64_t seed = 100; seed < 110; ++seed) {
      INFO("kernel set " << kernels << ", seed " << seed);
      CHECK(SameBits(RunEverything(*one, seed), RunEverything(*four, seed)));
    }
    // Large enough to be split.
    const ProductCase large = {100, 700, 128, DType::kF32, 8};
    CHECK(SameBits(RunProduct(*one, large, 1), RunProduct(*four, large, 1)));
  }
}

TEST_CASE("a row of a product does not depend on the rows beside it") {
  for (const std::string& kernels : worker::AvailableKernelSets()) {
    const auto backend = Make(kernels);
    const Matrix weights(1, 50, 70, DType::kBF16);
    const Floats input = RandomFloats(2, 23 * 70);
    const worker::SumOrder order = worker::SumOrder::Whole(70);
    auto run = [&](int64_t first, int64_t rows) {
      Floats output(rows * 50);
      worker::ProductArgs args;
      args.input = input.data() + first * 70;
      args.num_rows = rows;
      args.weights = weights.packed();
      args.lanes = order.lanes.data();
      args.num_lanes = 1;
      args.output = output.data();
      backend->Product(args);
      return output;
    };
    const Floats all = run(0, 23);
    for (int64_t rows : {1, 2, 3, 5, 7}) {
      for (int64_t first = 0; first + rows <= 23; first += rows) {
        INFO("kernel set " << kernels << ", rows " << first << " + " << rows);
        CHECK(SameBits(run(first, rows),
                       Floats(all.begin() + first * 50, all.begin() + (first + rows) * 50)));
      }
    }
  }
}

TEST_CASE("a lane's sum does not depend on where the slice that holds it begins") {
  for (const std::string& kernels : worker::AvailableKernelSets()) {
    const auto backend = Make(kernels);
    for (DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      // Lanes of an odd number of columns, most of which begin at an odd one.
      const int64_t borders[] = {0, 33, 66, 75, 100};
      const Matrix whole(1, 40, 100, dtype);
      const Floats input = RandomFloats(2, 13 * 100);
      worker::SumLane lanes[4];
      for (int i = 0; i < 4; ++i) lanes[i] = {borders[i], borders[i + 1], 0, i};
      Floats sums(4 * 13 * 40);
      worker::ProductArgs args;
      args.input = input.data();
      args.num_rows = 13;
      args.weights = whole.packed();
      args.lanes = lanes;
      args.num_lanes = 4;
      args.output = sums.data();
      args.root_stride = 13 * 40;
      backend->Product(args);
      for (int i = 0; i < 4; ++i) {
        INFO("kernel set " << kernels << ", " << shard_loader::DTypeName(dtype) << ", lane " << i);
        const int64_t width = borders[i + 1] - borders[i];
        Matrix part(1, 40, width, dtype);
        Floats part_input(13 * width);
        for (int64_t k = 0; k < width; ++k) {
          for (int64_t row = 0; row < 13; ++row) {
            part_input[row * width + k] = input[row * 100 + borders[i] + k];
          }
          for (int64_t n = 0; n < 40; ++n) {
            worker::StoreElement(whole.At(n, borders[i] + k), part.bytes.data(),
                                 shard_loader::PackedIndex(n, k, width, dtype), dtype);
          }
        }
        const worker::SumOrder order = worker::SumOrder::Whole(width);
        Floats alone(13 * 40);
        args.input = part_input.data();
        args.weights = part.packed();
        args.lanes = order.lanes.data();
        args.num_lanes = 1;
        args.output = alone.data();
        backend->Product(args);
        CHECK(
            SameBits(alone, Floats(sums.begin() + i * 13 * 40, sums.begin() + (i + 1) * 13 * 40)));
        args.input = input.data();
      }
    }
  }
}

TEST_CASE("a row of attention does not depend on the rows beside it") {
  for (const std::string& kernels : worker::AvailableKernelSets()) {
    const auto backend = Make(kernels);
    const AttentionCase test = {{0, 17, 255, 256, 300, 530}, 4, 2, 32, 0, DType::kF16};
    AttentionInputs inputs(test, 6);
    inputs.RotateAndStore(*backend);
    const Floats all = inputs.Attend(*backend, 0, 6);
    for (int64_t row = 0; row < 6; ++row) {
      INFO("kernel set " << kernels << ", row " << row);
      CHECK(SameBits(inputs.Attend(*backend, row, 1),
                     Floats(all.begin() + row * 128, all.begin() + (row + 1) * 128)));
    }
    AttentionCase chunk = {{}, 6, 2, 80, 0, DType::kBF16};
    chunk.one_sequence = true;
    for (int32_t position = 240; position < 280; ++position) chunk.positions.push_back(position);
    for (int64_t window : {0, 7, 20, 250}) {
      chunk.window = window;
      AttentionInputs rows(chunk, 7);
      rows.RotateAndStore(*backend);
      const Floats together = rows.Attend(*backend, 0, 40);
      for (int64_t row = 0; row < 40; ++row) {
        INFO("kernel set " << kernels << ", window " << window << ", row " << row);
        CHECK(SameBits(rows.Attend(*backend, row, 1),
                       Floats(together.begin() + row * 480, together.begin() + (row + 1) * 480)));
      }
    }
  }
}

}  // namespace
}  // namespace tessera::tests
