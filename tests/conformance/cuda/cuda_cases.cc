#include "tests/conformance/cuda/cuda_cases.h"

#include <catch2/catch.hpp>
#include <memory>

#include "tests/conformance/backend/cases.h"
#include "worker/backend/kernel_sets.h"

namespace tessera::tests {
namespace {

using shard_loader::DType;
using shard_loader::KvFormat;

std::unique_ptr<worker::Backend> Cpu(const char* kernels) {
  auto backend = worker::MakeBackend(kernels, 1);
  REQUIRE(backend.ok());
  return *std::move(backend);
}

// Of one product with narrowed inputs: (2^-9 or 2^-12) of |x||w| for each of the columns, and the
// rounding of the sum.
double ProductBound(const ProductCase& test) {
  const double narrowing = test.format.dtype == DType::kBF16 ? 0x1p-9 : 0x1p-12;
  return test.columns * 16 * (narrowing + test.columns * 0x1p-23);
}

// Rows of one sequence, as a prefill has them.
struct Chunk {
  explicit Chunk(const AttentionCase& test) : inputs(test, 8) {
    for (auto& table : inputs.block_tables) table = inputs.block_tables.back();
  }
  AttentionInputs inputs;
};

}  // namespace

void ExactOrderIsTheCpus(worker::Backend& exact, int seeds) {
  const auto cpu = Cpu("generic");
  for (uint64_t seed = 0; seed < static_cast<uint64_t>(seeds); ++seed) {
    INFO("seed " << seed);
    CHECK(SameBits(RunEverything(*cpu, seed), RunEverything(exact, seed)));
  }
  CHECK(exact.memory().Finish().ok());
}

void ProductsAreTheReferences(worker::Backend& wide) {
  const ProductCase cases[] = {
      {1, 16, 64, DType::kBF16},           {1, 5, 2, DType::kF16},
      {7, 33, 100, DType::kBF16, 0, true}, {70, 130, 96, DType::kBF16},
      {3, 48, 96, DType::kF16, 0, true},   {5, 40, 512, DType::kF16, 8},
      {66, 40, 516, DType::kBF16, 8},      {65, 150, 1024, DType::kF16, 16},
      {2, 20, 1100, DType::kBF16},
  };
  const auto reference = Cpu("reference");
  for (const ProductCase& test : cases) {
    INFO(test.num_rows << " x " << test.columns << " x " << test.outputs << ", lanes " << test.lanes
                       << ", " << shard_loader::DTypeName(test.format.dtype));
    CHECK(Distance(RunProduct(wide, test, 5), RunProduct(*reference, test, 5)) <=
          ProductBound(test));
  }
}

void RowsOfProductsStandAlone(worker::Backend& wide) {
  for (DType dtype : {DType::kBF16, DType::kF16}) {
    for (int64_t columns : {200, 1056}) {
      const Matrix weights(1, 140, columns, dtype);
      const Floats input = RandomFloats(2, 70 * columns);
      const auto tree = shard_loader::LaneTree::ForColumns(columns, 4);
      const worker::SumOrder order = worker::SumOrder::Lanes(tree, {0, tree.num_lanes()}, 1);
      auto run = [&](int64_t first, int64_t rows) {
        Floats output(rows * 140);
        worker::ProductArgs args;
        args.input = input.data() + first * columns;
        args.num_rows = rows;
        args.weights = weights.packed();
        args.lanes = order.lanes.data();
        args.num_lanes = static_cast<int64_t>(order.lanes.size());
        args.output = output.data();
        wide.Product(args);
        return output;
      };
      const Floats all = run(0, 70);
      for (int64_t rows : {1, 8, 13, 35}) {
        INFO("columns " << columns << ", rows " << rows << " from 35");
        CHECK(SameBits(run(35, rows),
                       Floats(all.begin() + 35 * 140, all.begin() + (35 + rows) * 140)));
      }
    }
  }
}

void AttentionIsTheReferences(worker::Backend& wide) {
  const AttentionCase cases[] = {
      {{0, 17, 255, 256, 300}, 4, 2, 64, 0, DType::kF16},
      {{5, 600}, 3, 1, 32, 40, DType::kBF16},
      {{270}, 20, 1, 16, 0, DType::kF16},
      {{100, 513}, 2, 2, 128, 0, DType::kBF16, 64, 0, 0, false, 30.0f, true, true},
      {{0, 17, 255, 256, 300}, 4, 2, 64, 0, KvFormat::Int8()},
      {{100, 513}, 2, 2, 128, 40, KvFormat::Int8(), 64, 0, 0, false, 30.0f, true, true},
  };
  const auto reference = Cpu("reference");
  for (const AttentionCase& test : cases) {
    INFO("head size " << test.head_size << ", window " << test.window);
    AttentionInputs a(test, 3);
    AttentionInputs b(test, 3);
    a.RotateAndStore(wide);
    b.RotateAndStore(*reference);
    const int64_t rows = static_cast<int64_t>(test.positions.size());
    // Scores of queries narrowed to 2^-9 differ by some 2^-9 |q||k|, weights by as much of
    // themselves.
    CHECK(Distance(a.Attend(wide, 0, rows), b.Attend(*reference, 0, rows)) <= 0.35);
  }
}

void RowsOfAttentionStandAlone(worker::Backend& wide) {
  for (const KvFormat& format : {KvFormat(DType::kBF16), KvFormat(DType::kF16), KvFormat::Int8()}) {
    const bool plain = format != KvFormat(DType::kF16);
    AttentionCase test = {{}, 6, 2, 64, 0, format};
    if (!plain) {
      test.window = 290;
      test.head_size = 160;
      test.soft_cap = 20.0f;
      test.biased = true;
      test.sinks = true;
    }
    for (int32_t position = 500; position < 530; ++position) test.positions.push_back(position);
    Chunk chunk(test);
    chunk.inputs.RotateAndStore(wide);
    const Floats all = chunk.inputs.Attend(wide, 0, 30);
    const int64_t width = test.num_heads * test.values();
    for (int64_t row : {0, 11, 12, 29}) {
      INFO("row " << row << ", cache in " << KvFormatName(format));
      const Floats expected(all.begin() + row * width, all.begin() + (row + 1) * width);
      CHECK(SameBits(chunk.inputs.Attend(wide, row, 1), expected));
    }
    CHECK(SameBits(chunk.inputs.Attend(wide, 10, 3),
                   Floats(all.begin() + 10 * width, all.begin() + 13 * width)));
  }
}

}  // namespace tessera::tests
