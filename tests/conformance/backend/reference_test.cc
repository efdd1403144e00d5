// Every kernel set against the reference, within bounds that follow from the norms of the inputs.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>

#include "shard_loader/plan/workspace.h"
#include "tests/conformance/backend/cases.h"
#include "worker/backend/coded_matrix.h"
#include "worker/backend/kernel_sets.h"
#include "worker/tensor/convert.h"

namespace tessera::tests {
namespace {

using shard_loader::DType;

constexpr double kEpsilon = 0x1p-24;  // half an ulp of fp32

std::unique_ptr<worker::Backend> Make(const std::string& kernels, int threads = 1) {
  auto backend = worker::MakeBackend(kernels, threads);
  REQUIRE(backend.ok());
  return *std::move(backend);
}

template <typename Check>
void ForEverySet(const Check& check) {
  const auto reference = Make("reference");
  for (const std::string& kernels : worker::AvailableKernelSets()) {
    if (kernels == "reference") continue;
    INFO("kernel set " << kernels);
    check(*Make(kernels), *reference);
  }
}

double Largest(const Floats& values) {
  double largest = 0;
  for (float value : values) largest = std::max(largest, std::abs(double{value}));
  return largest;
}

TEST_CASE("products are those of the reference, up to the rounding of their sums") {
  const ProductCase cases[] = {
      {1, 16, 64, DType::kF32},           {1, 1, 1, DType::kF32},
      {7, 33, 100, DType::kF32, 0, true}, {64, 130, 257, DType::kBF16},
      {3, 48, 96, DType::kF16, 0, true},  {5, 40, 512, DType::kF32, 8},
      {5, 40, 515, DType::kBF16, 8},      {2, 17, 1024, DType::kF16, 16},
  };
  ForEverySet([&](worker::Backend& backend, worker::Backend& reference) {
    for (ProductCase test : cases) {
      // Sets that take dot instructions narrow the inputs: here they are narrow already.
      test.bf16_inputs = test.format.dtype == DType::kBF16;
      INFO(test.num_rows << " x " << test.columns << " x " << test.outputs << ", lanes "
                         << test.lanes << ", " << shard_loader::WeightFormatName(test.format));
      // |error| <= n eps sum |x||w|, and inputs are at most 4 (Higham, "Accuracy and stability of
      // numerical algorithms", 3.1); half of that again for the lanes' and the bias's additions.
      const double bound = 1.5 * test.columns * kEpsilon * test.columns * 16;
      CHECK(Distance(RunProduct(backend, test, 5), RunProduct(reference, test, 5)) <= bound);
    }
  });
}

TEST_CASE("a set that narrows its inputs is off by their rounding, and no other set is") {
  const auto reference = Make("reference");
  const ProductCase test = {40, 70, 17, DType::kBF16};
  for (const std::string& kernels : worker::AvailableKernelSets()) {
    if (kernels == "reference") continue;
    INFO("kernel set " << kernels);
    const double distance =
        Distance(RunProduct(*Make(kernels), test, 5), RunProduct(*reference, test, 5));
    const double sums = 1.5 * test.columns * kEpsilon * test.columns * 16;
    // An input is off by at most 2^-9 of itself.
    const bool narrows = worker::KernelNumerics(kernels)->starts_with("bf16dot");
    CHECK(distance <= sums + (narrows ? 0x1p-9 * test.columns * 16 : 0));
    CHECK((distance > sums) == narrows);
  }
}

TEST_CASE("products with coded matrices are those of the reference") {
  using shard_loader::Codes;
  using shard_loader::WeightFormat;
  const WeightFormat formats[] = {
      {Codes::kInt8, 32, DType::kBF16},  {Codes::kInt8, 64, DType::kF16},
      {Codes::kInt4, 32, DType::kF16},   {Codes::kInt4, 64, DType::kBF16},
      {Codes::kInt4, 128, DType::kBF16}, {Codes::kInt4Offset, 32, DType::kF16},
  };
  ForEverySet([&](worker::Backend& backend, worker::Backend& reference) {
    for (const WeightFormat& format : formats) {
      const ProductCase cases[] = {{1, 16, 64, format},           {1, 1, 1, format},
                                   {7, 33, 100, format, 0, true}, {40, 70, 257, format},
                                   {5, 40, 515, format, 8},       {100, 17, 1024, format, 16}};
      for (const ProductCase& test : cases) {
        INFO(test.num_rows << " x " << test.columns << " x " << test.outputs << ", lanes "
                           << test.lanes << ", " << shard_loader::WeightFormatName(format));
        // Sums of a segment are exact; a few fp32 operations for each, on terms of at most 16.
        const double bound = 4.0 * test.columns * kEpsilon * test.columns * 16;
        CHECK(Distance(RunProduct(backend, test, 5), RunProduct(reference, test, 5)) <= bound);
      }
    }
  });
}

TEST_CASE("coding weights and inputs costs what the steps between codes say") {
  const auto reference = Make("reference");
  for (auto [codes, step] : {std::pair{shard_loader::Codes::kInt8, 1.0 / 127},
                             std::pair{shard_loader::Codes::kInt4, 1.0 / 8}}) {
    const ProductCase exact = {3, 40, 512, DType::kF32};
    const ProductCase coded = {3, 40, 512, {codes, 32, DType::kBF16}};
    // Half a step of the weight (a whole one at the end of the range that 4 bits lack) and half a
    // step of the input, each relative to at most 4; errors add up like their squares.
    const double each = 4.0 * 4.0 * (step + 0.5 / 127);
    const double distance =
        Distance(RunProduct(*reference, exact, 3), RunProduct(*reference, coded, 3));
    CHECK(distance <= 2 * each * std::sqrt(512.0));
    CHECK(distance > 0);
  }
}

TEST_CASE("codes of a checkpoint are kept exactly") {
  for (auto codes :
       {shard_loader::Codes::kInt8, shard_loader::Codes::kInt4, shard_loader::Codes::kInt4Offset}) {
    Matrix matrix(1, 20, 70, {codes, 32, DType::kF16});
    std::fill(matrix.bytes.begin(), matrix.bytes.end(), std::byte{0});
    std::vector<int8_t> group(32);
    const int low = codes == shard_loader::Codes::kInt8   ? -128
                    : codes == shard_loader::Codes::kInt4 ? -8
                                                          : 0;
    for (int i = 0; i < 32; ++i) group[i] = static_cast<int8_t>(low + i % 16);
    worker::PackRowGroup(matrix.packed(), {17, 1, group.data(), 0x3555, -0.25f},
                         matrix.bytes.data());
    const float scale = 0.333251953125f;  // 0x3555 in f16
    const float minimum = codes == shard_loader::Codes::kInt4Offset ? -0.25f : 0.0f;
    for (int i = 0; i < 32; ++i) {
      CHECK(matrix.At(17, 32 + i) == static_cast<float>(group[i]) * scale + minimum);
    }
  }
}

TEST_CASE("a sum over lanes does not touch what other ranks own") {
  // With 8 lanes of 64 columns each but the last owned, there are three roots: 4, 2 and 1 lanes.
  const auto tree = shard_loader::LaneTree::ForColumns(512, 8);
  const worker::SumOrder order = worker::SumOrder::Lanes(tree, {0, 7}, 1);
  CHECK(order.num_roots == 3);
  REQUIRE(order.lanes.size() == 7);
  const int folds[] = {0, 1, 0, 2, 0, 1, 0};
  const int roots[] = {-1, -1, -1, 0, -1, 1, 2};
  for (int i = 0; i < 7; ++i) {
    CHECK(order.lanes[i].begin == 64 * i);
    CHECK(order.lanes[i].end == 64 * (i + 1));
    CHECK(order.lanes[i].folds == folds[i]);
    CHECK(order.lanes[i].root == roots[i]);
  }
}

TEST_CASE("norms are those of the reference, to some ulps") {
  ForEverySet([&](worker::Backend& backend, worker::Backend& reference) {
    for (int64_t size : {1, 8, 15, 16, 17, 64, 300, 4096}) {
      INFO("size " << size);
      const Floats input = RandomFloats(size, 3 * size);
      const Floats weight = RandomFloats(size + 1, size);
      const Floats bias = RandomFloats(size + 2, size);
      for (auto kind : {shard_loader::NormKind::kRms, shard_loader::NormKind::kLayer}) {
        if (kind == shard_loader::NormKind::kLayer && size == 1) continue;  // 0 / sqrt(epsilon)
        Floats found(3 * size), expected(3 * size);
        worker::NormArgs args = {input.data(), 3, size, weight.data(), 1e-6f, found.data(), kind};
        args.bias = bias.data();
        backend.Norm(args);
        args.output = expected.data();
        reference.Norm(args);
        // The sum of squares has no cancellation: its relative error is that of 16 short sums; a
        // mean of numbers up to 4 is off by as many half ulps of 4.
        const double bound = 2 * (size / 16 + 12) * kEpsilon * (Largest(expected) + 16);
        CHECK(Distance(found, expected) <= bound);
      }
    }
  });
}

TEST_CASE("activations are those of the reference over the whole range") {
  Floats inputs;
  for (double x = -120; x <= 120; x += 0.037) inputs.push_back(static_cast<float>(x));
  for (float x : {0.0f, -0.0f, 1e-30f, -1e-30f, 1e30f, -1e30f}) inputs.push_back(x);
  const Floats ones(inputs.size(), 1.0f);
  const int64_t size = static_cast<int64_t>(inputs.size());
  ForEverySet([&](worker::Backend& backend, worker::Backend& reference) {
    for (auto activation : kActivations) {
      // relu^2 of 1e30 is infinite: not compared here.
      Floats found = inputs, expected = inputs;
      if (activation == shard_loader::Activation::kRelu2) found[found.size() - 2] = 0;
      expected = found;
      const bool clamped = activation == shard_loader::Activation::kClampedSwiglu;
      const float* up = clamped ? ones.data() : nullptr;
      backend.Activate({activation, size, up, found.data(), 7.0f});
      reference.Activate({activation, size, up, expected.data(), 7.0f});
      for (size_t i = 0; i < inputs.size(); ++i) {
        INFO("x = " << inputs[i]);
        // tanh and erf are exact to 2^-22 absolute, and are multiplied by x.
        double bound = 0x1p-22 * std::abs(double{inputs[i]}) + 1e-37;
        if (activation == shard_loader::Activation::kRelu2) bound *= std::abs(inputs[i]);
        if (clamped) bound *= 2;
        CHECK(std::abs(double{found[i]} - expected[i]) <= bound);
      }
    }
  });
}

TEST_CASE("NaN goes through activations and softmax blocks, and infinity is no number either") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  ForEverySet([&](worker::Backend& backend, worker::Backend&) {
    const Floats up(3, 1.0f);
    for (auto activation : kActivations) {
      Floats gate = {1.0f, nan, 2.0f};
      backend.Activate({activation, 3, up.data(), gate.data(), 7.0f});
      CHECK(std::isnan(gate[1]));
      CHECK_FALSE(std::isnan(gate[0]));
    }
    auto sum_of = [&](Floats input) {
      float maximum = 0, sum = 0;
      backend.SoftmaxBlocks({input.data(), static_cast<int64_t>(input.size()), 64, &maximum, &sum});
      return sum;
    };
    CHECK(std::isnan(sum_of({1, nan, 2})));
    CHECK(std::isnan(sum_of({nan, nan})));
    CHECK(std::isnan(sum_of({1, infinity})));
    CHECK(sum_of({-infinity, -infinity}) == 0.0f);
    CHECK(sum_of({-infinity, 3, -infinity}) == 1.0f);
  });
}

TEST_CASE("softmax blocks are those of the reference") {
  ForEverySet([&](worker::Backend& backend, worker::Backend& reference) {
    for (int64_t size : {1, 16, 63, 64, 65, 509, 1000}) {
      INFO("size " << size);
      const Floats input = RandomFloats(size, size, 10.0f);
      const int64_t blocks = (size + 63) / 64;
      Floats found(2 * blocks + size), expected(2 * blocks + size);
      for (auto [which, out] : {std::pair{&backend, &found}, std::pair{&reference, &expected}}) {
        which->SoftmaxBlocks(
            {input.data(), size, 64, out->data(), out->data() + blocks, out->data() + 2 * blocks});
      }
      // Differences of up to 80 carry an error of eps each into exp; maxima are exact.
      CHECK(std::equal(found.begin(), found.begin() + blocks, expected.begin()));
      CHECK(Distance(found, expected) <= 100 * kEpsilon * Largest(expected));
    }
  });
}

TEST_CASE("embedding rows are copies") {
  using shard_loader::Codes;
  using shard_loader::WeightFormat;
  ForEverySet([&](worker::Backend& backend, worker::Backend&) {
    for (const WeightFormat& format :
         {WeightFormat(DType::kF32), WeightFormat(DType::kBF16), WeightFormat(DType::kF16),
          WeightFormat(Codes::kInt8, 32, DType::kBF16), WeightFormat(Codes::kInt4, 32, DType::kF16),
          WeightFormat(Codes::kInt4Offset, 32, DType::kBF16)}) {
      const Matrix table(3, 37, 24, format);
      const int64_t ids[] = {36, 0, 17, 17};
      Floats output(4 * 24);
      backend.EmbedRows(table.packed(), ids, 4, output.data());
      for (int64_t i = 0; i < 4; ++i) {
        for (int64_t c = 0; c < 24; ++c) CHECK(output[i * 24 + c] == table.At(ids[i], c));
      }
    }
  });
}

void CheckAttention(const AttentionCase& test) {
  INFO("head size " << test.head_size << ", window " << test.window << ", "
                    << shard_loader::KvFormatName(test.kv_dtype));
  const int64_t rows = static_cast<int64_t>(test.positions.size());
  ForEverySet([&](worker::Backend& backend, worker::Backend& reference) {
    AttentionInputs found(test, 9), expected(test, 9);
    const Floats rotated = found.RotateAndStore(backend);
    // Two products and a sum of numbers up to 4.
    CHECK(Distance(rotated, expected.RotateAndStore(reference)) <= 3 * kEpsilon * 8);
    // The keys that the reference stored may differ in the last bit: attention is compared on one
    // cache.
    expected.cache = found.cache;
    expected.query = found.query;
    // A score's error is at most n eps |q||k| scale, and exp makes it relative; the weights' sum
    // has at most some hundred terms for each accumulator; values are at most 4.
    const double longest = *std::max_element(test.positions.begin(), test.positions.end()) + 1;
    const double score = test.head_size * kEpsilon * 16 * std::sqrt(test.head_size);
    const double bound = (2 * score + (longest + 16) * kEpsilon) * 4;
    CHECK(Distance(found.Attend(backend, 0, rows), expected.Attend(reference, 0, rows)) <= bound);
  });
}

TEST_CASE("attention is that of the reference at every length, window and cache dtype") {
  const std::vector<int32_t> lengths = {0, 1, 15, 16, 40, 255, 256, 300, 511, 600};
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    CheckAttention({lengths, 4, 2, 16, 0, dtype});
    CheckAttention({lengths, 3, 1, 8, 50, dtype});
  }
  const auto int8 = shard_loader::KvFormat::Int8();
  CheckAttention({lengths, 4, 2, 16, 0, int8});
  CheckAttention({lengths, 3, 1, 8, 50, int8});
  CheckAttention({lengths, 2, 1, 80, 1, int8});
  CheckAttention({lengths, 2, 2, 128, 300, DType::kF32});
  CheckAttention({lengths, 2, 1, 80, 1, DType::kF32});
  std::vector<int32_t> chunk;
  for (int32_t position = 230; position < 300; ++position) chunk.push_back(position);
  for (int64_t window : {0, 20}) {
    for (const shard_loader::KvFormat& format : {shard_loader::KvFormat(DType::kBF16), int8}) {
      AttentionCase test = {chunk, 8, 2, 64, window, format};
      test.one_sequence = true;
      CheckAttention(test);
    }
  }
}

TEST_CASE("caps, slopes, sinks, partial and interleaved rotations are those of the reference") {
  const std::vector<int32_t> lengths = {0, 15, 16, 255, 256, 300, 600};
  AttentionCase test = {lengths, 4, 2, 32, 0, DType::kF32};
  test.rotary_size = 8;
  test.interleaved = true;
  test.soft_cap = 5;
  CheckAttention(test);
  test.rotary_begin = 24;
  test.value_size = 20;
  test.soft_cap = 0;
  test.biased = true;
  CheckAttention(test);
  test.interleaved = false;
  test.sinks = true;
  test.window = 40;
  CheckAttention(test);
  test.kv_dtype = shard_loader::KvFormat::Int8();
  CheckAttention(test);
}

TEST_CASE("a cache in int8 holds every element within half a step, and no number for none") {
  ForEverySet([&](worker::Backend& backend, worker::Backend& reference) {
    AttentionCase test = {{0, 5, 15, 16, 40}, 2, 2, 40, 0, shard_loader::KvFormat::Int8()};
    test.value_size = 24;
    AttentionInputs inputs(test, 2), expected(test, 2);
    std::fill_n(inputs.value.begin(), 24, 0.0f);                    // the first row's first head
    inputs.value[24 + 3] = std::numeric_limits<float>::infinity();  // and its second
    expected.value = inputs.value;
    inputs.RotateAndStore(backend);
    expected.RotateAndStore(reference);
    const shard_loader::KvBlockShape shape = {40, 32};
    for (size_t row = 0; row < test.positions.size(); ++row) {
      const int64_t position = test.positions[row];
      const int64_t token = position % 16;
      for (int64_t head = 0; head < 2; ++head) {
        const int64_t at =
            (inputs.blocks[row][position / 16] * 2 + head) * shape.bytes(test.kv_dtype);
        const std::byte* data = inputs.cache.data() + at;
        const float* key = inputs.key.data() + (row * 2 + head) * 40;
        const float* value = inputs.value.data() + (row * 2 + head) * 24;
        const float key_scale = worker::LoadElement(data + shape.elements(), token, DType::kF32);
        const float scale = worker::LoadElement(data + shape.elements(), 16 + token, DType::kF32);
        for (int64_t i = 0; i < 40; ++i) {
          const auto code = static_cast<int8_t>(data[i * 16 + token]);
          CHECK(std::abs(code * key_scale - key[i]) <= 0.5001f * key_scale);
        }
        for (int64_t i = 0; i < 24; ++i) {
          const auto code = static_cast<int8_t>(data[40 * 16 + token * 32 + i]);
          if (row == 0 && head == 1) {
            CHECK((code == 0 && std::isnan(scale)));
          } else {
            CHECK(std::abs(code * scale - value[i]) <= 0.5001f * scale);
          }
        }
      }
    }
    // Values are not rotated: what the reference stores of them is the same to the bit.
    for (size_t row = 0; row < test.positions.size(); ++row) {
      const int64_t position = test.positions[row];
      for (int64_t head = 0; head < 2; ++head) {
        const int64_t at =
            (inputs.blocks[row][position / 16] * 2 + head) * shape.bytes(test.kv_dtype);
        const int64_t values = at + 40 * 16 + position % 16 * 32;
        CHECK(std::memcmp(inputs.cache.data() + values, expected.cache.data() + values, 24) == 0);
      }
    }
    // The infinite value makes the row's second head no number, and nothing else.
    const Floats output = inputs.Attend(backend, 0, 5);
    for (size_t i = 0; i < output.size(); ++i) CHECK(std::isnan(output[i]) == (i / 24 == 1));
  });
}

TEST_CASE("a sink takes its share of the weights, also one that is above every score") {
  ForEverySet([&](worker::Backend& backend, worker::Backend&) {
    AttentionCase test = {{300}, 1, 1, 16, 0, DType::kF32};
    AttentionInputs inputs(test, 3);
    const Floats without = inputs.Attend(backend, 0, 1);
    inputs.test.sinks = true;
    inputs.sinks = {-200.0f};
    CHECK(Distance(without, inputs.Attend(backend, 0, 1)) <= 4 * kEpsilon);
    inputs.sinks = {500.0f};
    for (float x : inputs.Attend(backend, 0, 1)) CHECK(x == 0.0f);
  });
}

TEST_CASE("attention never touches what a row does not see") {
  const AttentionCase test = {{40}, 2, 1, 16, 10, DType::kF32};
  ForEverySet([&](worker::Backend& backend, worker::Backend&) {
    AttentionInputs clean(test, 4), dirty(test, 4);
    // NaN everywhere, but for the keys and values at positions 31 to 40.
    Floats poisoned(dirty.cache.size() / 4, std::numeric_limits<float>::quiet_NaN());
    Floats seen(poisoned.size());
    std::memcpy(seen.data(), dirty.cache.data(), dirty.cache.size());
    for (int64_t position = 31; position <= 40; ++position) {
      const int64_t block = dirty.blocks[0][position / 16] * 512;
      const int64_t token = position % 16;
      for (int64_t i = 0; i < 16; ++i) {
        poisoned[block + i * 16 + token] = seen[block + i * 16 + token];
        poisoned[block + 256 + token * 16 + i] = seen[block + 256 + token * 16 + i];
      }
    }
    std::memcpy(dirty.cache.data(), poisoned.data(), dirty.cache.size());
    CHECK(SameBits(clean.Attend(backend, 0, 1), dirty.Attend(backend, 0, 1)));
  });
}

}  // namespace
}  // namespace tessera::tests
