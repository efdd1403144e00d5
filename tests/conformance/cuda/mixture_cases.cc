#include "tests/conformance/cuda/mixture_cases.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "shard_loader/plan/rounding.h"
#include "tests/conformance/backend/cases.h"
#include "worker/model/router.h"

namespace tessera::tests {
namespace {

using shard_loader::DType;
using shard_loader::MoeSpec;
using shard_loader::WeightFormat;

// Arrays of the device.
class Arrays {
 public:
  explicit Arrays(worker::Memory& memory) : memory_(memory) {}

  std::byte* Bytes(const void* host, int64_t bytes) {
    auto buffer = memory_.Allocate(std::max<int64_t>(bytes, 1), "a test");
    REQUIRE(buffer.ok());
    if (host != nullptr) memory_.CopyIn(host, bytes, buffer->data());
    buffers_.push_back(*std::move(buffer));
    return buffers_.back().data();
  }
  float* Of(const Floats& host) {
    return reinterpret_cast<float*>(Bytes(host.data(), static_cast<int64_t>(host.size()) * 4));
  }
  Floats Back(const float* from, int64_t count) {
    Floats floats(static_cast<size_t>(count));
    memory_.CopyOut(from, count * 4, floats.data());
    const absl::Status status = memory_.Finish();
    INFO(status.ToString());
    REQUIRE(status.ok());
    return floats;
  }

 private:
  worker::Memory& memory_;
  std::vector<worker::Buffer> buffers_;
};

MoeSpec RandomSpec(std::mt19937& random) {
  MoeSpec moe;
  const int64_t experts[] = {1, 4, 6, 40, 64, 160};
  moe.num_experts = experts[random() % 6];
  moe.experts_per_token =
      1 + static_cast<int64_t>(random()) % std::min<int64_t>(9, moe.num_experts);
  if (random() % 2 == 0) moe.scores = MoeSpec::Scores::kSigmoid;
  moe.renormalise = random() % 2 == 0;
  moe.routed_scale = random() % 2 == 0 ? 1.0f : 2.5f;
  moe.group_by_two = random() % 2 == 0;
  for (int64_t groups : {8, 4, 2}) {
    if (moe.num_experts % groups != 0 || random() % 2 == 0) continue;
    moe.num_groups = groups;
    moe.groups_per_token = 1 + static_cast<int64_t>(random()) % groups;
    moe.experts_per_token =
        std::min(moe.experts_per_token, moe.groups_per_token * (moe.num_experts / moe.num_groups));
    break;
  }
  return moe;
}

Floats RandomLogits(std::mt19937& random, int64_t num_rows, int64_t experts) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  Floats logits(static_cast<size_t>(num_rows * experts));
  for (int64_t row = 0; row < num_rows; ++row) {
    const uint32_t kind = random() % 8;
    for (int64_t i = 0; i < experts; ++i) {
      float& logit = logits[row * experts + i];
      logit = static_cast<float>(static_cast<int32_t>(random())) * 3e-9f;  // [-6.4, 6.4]
      if (kind < 2) logit = std::round(logit);                             // many ties
      if (kind == 2) logit = 0.0f;
      if (kind == 3 && random() % 4 == 0) logit = -kInfinity;
      if (kind == 4) logit *= 200.0f;
    }
    const size_t one = row * experts + random() % experts;
    if (kind == 5) logits[one] = std::numeric_limits<float>::quiet_NaN();
    if (kind == 6) logits[one] = kInfinity;
  }
  return logits;
}

// What the router makes of the rows, spread over the experts: [num_rows, experts].
Floats Routed(const MoeSpec& moe, const Floats& logits, const float* correction) {
  Floats weights(logits.size());
  const size_t experts = static_cast<size_t>(moe.num_experts);
  for (size_t first = 0; first < logits.size(); first += experts) {
    for (const worker::ExpertChoice& choice :
         worker::ChooseExperts(moe, logits.data() + first, correction)) {
      for (size_t i = 0; i < experts; ++i) {
        const float one = static_cast<int32_t>(i) == choice.expert ? 1.0f : 0.0f;
        weights[first + i] = std::fma(choice.weight, one, weights[first + i]);
      }
    }
  }
  return weights;
}

// An expert's matrices and biases, one behind the other, at equal distances.
struct ExpertImage {
  ExpertImage(int64_t experts, int64_t hidden, int64_t columns, const WeightFormat& format) {
    for (int64_t e = 0; e < experts; ++e) {
      const uint64_t seed = 100 + 10 * static_cast<uint64_t>(e);
      gate.emplace_back(seed, columns, hidden, format);
      up.emplace_back(seed + 1, columns, hidden, format);
      down.emplace_back(seed + 2, hidden, columns, format);
      gate_bias.push_back(RandomFloats(seed + 3, columns));
      up_bias.push_back(RandomFloats(seed + 4, columns));
      for (auto* matrices : {&gate, &up, &down})
        Append(matrices->back().bytes.data(), matrices->back().bytes.size());
      for (auto* biases : {&gate_bias, &up_bias}) Append(biases->back().data(), 4 * columns);
      if (e == 0) stride = static_cast<int64_t>(bytes.size());
    }
  }

  worker::ExpertMatrices On(std::byte* device, const std::vector<Matrix>& matrices,
                            const std::vector<Floats>* biases) const {
    worker::ExpertMatrices all;
    all.first = matrices.front().packed();
    int64_t offset = 0;
    for (const auto* each : {&gate, &up, &down}) {
      if (each == &matrices) break;
      offset += Padded(each->front().bytes.size());
    }
    all.first.data = device + offset;
    all.stride = stride;
    if (biases == nullptr) return all;
    offset = 0;
    for (const auto* each : {&gate, &up, &down}) offset += Padded(each->front().bytes.size());
    if (biases == &up_bias) offset += Padded(gate_bias.front().size() * 4);
    all.bias = reinterpret_cast<const float*>(device + offset);
    all.bias_stride = stride / 4;
    return all;
  }

  std::vector<Matrix> gate, up, down;
  std::vector<Floats> gate_bias, up_bias;
  std::vector<std::byte> bytes;
  int64_t stride = 0;

 private:
  static int64_t Padded(size_t size) {
    return shard_loader::RoundUp(static_cast<int64_t>(size), 64);
  }
  void Append(const void* data, size_t size) {
    const auto* first = static_cast<const std::byte*>(data);
    bytes.insert(bytes.end(), first, first + size);
    bytes.resize(static_cast<size_t>(Padded(bytes.size())));
  }
};

struct ExpertsCase {
  int64_t num_rows;
  WeightFormat format;
  bool lanes = false;  // a lane is a range of columns; else it has whole experts
  bool bias = false;
};

constexpr int64_t kHidden = 40;
constexpr int64_t kColumns = 70;
constexpr int64_t kExperts = 7;
constexpr shard_loader::Range kOwn = {2, 7};  // of the model's

MoeSpec SpecOf(int64_t per_token) {
  MoeSpec moe;
  moe.num_experts = kExperts;
  moe.experts_per_token = per_token;
  moe.renormalise = true;
  return moe;
}

// By one expert after the other, as worker/model does on the host: [sums, num_rows, hidden].
Floats OneAtATime(DeviceBackend& device, const ExpertsCase& test, const ExpertImage& image,
                  const worker::ExpertsArgs& args, const Floats& logits, const Floats& input) {
  Floats sums(static_cast<size_t>(args.num_sums * test.num_rows * kHidden));
  for (int64_t e = 0; e < kOwn.size(); ++e) {
    Floats gathered;
    std::vector<int32_t> rows;
    Floats weights;
    for (int64_t row = 0; row < test.num_rows; ++row) {
      for (const auto& choice :
           worker::ChooseExperts(*args.moe, logits.data() + row * kExperts, nullptr)) {
        if (choice.expert != kOwn.begin + e) continue;
        rows.push_back(static_cast<int32_t>(row));
        weights.push_back(choice.weight);
        gathered.insert(gathered.end(), input.begin() + row * kHidden,
                        input.begin() + (row + 1) * kHidden);
      }
    }
    if (rows.empty()) continue;
    const int64_t count = static_cast<int64_t>(rows.size());
    const auto multiply = [&](const Floats& from, const Matrix& matrix, const Floats* bias,
                              const worker::SumLane* lanes, int64_t num_lanes) {
      Floats to(static_cast<size_t>(num_lanes * count * matrix.rows));
      worker::ProductArgs product;
      product.input = from.data();
      product.num_rows = count;
      product.weights = matrix.packed();
      product.lanes = lanes;
      product.num_lanes = num_lanes;
      product.bias = bias == nullptr ? nullptr : bias->data();
      product.output = to.data();
      product.root_stride = count * matrix.rows;
      device.Product(product);
      return to;
    };
    const worker::SumLane whole = {0, kHidden, 0, 0};
    Floats gate =
        multiply(gathered, image.gate[e], test.bias ? &image.gate_bias[e] : nullptr, &whole, 1);
    const Floats up =
        multiply(gathered, image.up[e], test.bias ? &image.up_bias[e] : nullptr, &whole, 1);
    device.Activate({args.activation, count * kColumns, up.data(), gate.data(), 0});
    const Floats parts = multiply(gate, image.down[e], nullptr, args.lanes, args.num_lanes);
    for (int64_t part = 0; part < args.num_lanes; ++part) {
      const int64_t sum = args.sum_of == nullptr ? part : args.sum_of[e];
      device.AddWeightedRows({parts.data() + part * count * kHidden, kHidden, count, kHidden,
                              rows.data(), weights.data(),
                              sums.data() + sum * test.num_rows * kHidden});
    }
  }
  return sums;
}

void CheckSums(DeviceBackend& device, const ExpertsCase& test, int64_t per_token, uint64_t seed) {
  INFO(test.num_rows << " rows to " << per_token << " experts each in "
                     << WeightFormatName(test.format) << ", lanes " << test.lanes << ", bias "
                     << test.bias);
  const MoeSpec moe = SpecOf(per_token);
  const ExpertImage image(kOwn.size(), kHidden, kColumns, test.format);
  const Floats logits = RandomFloats(seed, test.num_rows * kExperts);
  const Floats input = RandomFloats(seed + 1, test.num_rows * kHidden);
  Arrays arrays(device.memory());
  std::byte* const weights =
      arrays.Bytes(image.bytes.data(), static_cast<int64_t>(image.bytes.size()));
  const std::vector<int32_t> sum_of = {0, 0, 1, 2, 2};
  const auto tree = shard_loader::LaneTree::ForColumns(kColumns, 4);
  std::vector<worker::SumLane> lanes = {{0, kColumns, 0, 0}};
  if (test.lanes) {
    lanes.clear();
    for (int l = 0; l < tree.num_lanes(); ++l) {
      lanes.push_back({tree.lane(l).begin, tree.lane(l).end, 0, l});
    }
  }
  worker::ExpertsArgs args;
  args.moe = &moe;
  args.experts = kOwn;
  args.gate = image.On(weights, image.gate, test.bias ? &image.gate_bias : nullptr);
  args.up = image.On(weights, image.up, test.bias ? &image.up_bias : nullptr);
  args.down = image.On(weights, image.down, nullptr);
  args.lanes = lanes.data();
  args.num_lanes = static_cast<int64_t>(lanes.size());
  args.sum_of = test.lanes ? nullptr : sum_of.data();
  args.num_sums = test.lanes ? args.num_lanes : 3;
  args.sum_stride = test.num_rows * kHidden;
  args.sums = arrays.Of(Floats(static_cast<size_t>(args.num_sums * args.sum_stride), 9.0f));
  args.input = arrays.Of(input);
  args.num_rows = test.num_rows;
  worker::Mixture& mixture = *device.mixture();
  worker::RouteArgs route;
  route.moe = &moe;
  route.step_rows = test.num_rows;
  route.num_rows = test.num_rows;
  route.logits = arrays.Of(logits);
  mixture.Route(route);
  mixture.Run(args);
  const Floats found = arrays.Back(args.sums, args.num_sums * args.sum_stride);
  CHECK(SameBits(found, OneAtATime(device, test, image, args, logits, input)));
}

}  // namespace

void ChoicesAreTheRouters(worker::Backend& device, int seeds) {
  for (int seed = 0; seed < seeds; ++seed) {
    std::mt19937 random(static_cast<uint32_t>(seed));
    const MoeSpec moe = RandomSpec(random);
    INFO("seed " << seed << ": " << moe.experts_per_token << " of " << moe.num_experts << " in "
                 << moe.num_groups << " groups");
    const int64_t rows = 1 + random() % 9;
    const int64_t experts = moe.num_experts;
    const Floats logits = RandomLogits(random, rows, experts);
    const bool corrected = random() % 2 == 0;
    const Floats correction = RandomFloats(random(), experts);
    Floats unit(static_cast<size_t>(experts * experts));
    for (int64_t i = 0; i < experts; ++i) unit[i * experts + i] = 1.0f;

    Arrays arrays(device.memory());
    worker::Mixture& mixture = *device.mixture();
    worker::RouteArgs args;
    args.moe = &moe;
    args.step_rows = rows;
    args.correction = corrected ? arrays.Of(correction) : nullptr;
    const float* const all = arrays.Of(logits);
    const int64_t half = rows / 2;
    for (const auto& [first, count] : {std::pair{int64_t{0}, half}, std::pair{half, rows - half}}) {
      if (count == 0) continue;
      args.first_row = first;
      args.num_rows = count;
      args.logits = all + first * experts;
      mixture.Route(args);
    }
    float* const weights = arrays.Of(Floats(logits.size()));
    mixture.AddBiases(moe, arrays.Of(unit), rows, experts, weights);
    const Floats expected = Routed(moe, logits, corrected ? correction.data() : nullptr);
    CHECK(SameBits(arrays.Back(weights, rows * experts), expected));

    // And the gate of shared experts, by the router's sigmoid.
    const Floats input = RandomFloats(static_cast<uint64_t>(seed), rows * experts);
    const Floats gates = RandomFloats(static_cast<uint64_t>(seed) + 1000, rows, 5.0f);
    float* const gated = arrays.Of(input);
    mixture.AddGated(arrays.Of(gates), arrays.Of(input), rows, experts, gated);
    Floats sums = input;
    for (size_t i = 0; i < sums.size(); ++i) {
      const float gate = worker::Sigmoid(gates[i / static_cast<size_t>(experts)]);
      sums[i] = std::fma(gate, input[i], sums[i]);
    }
    CHECK(SameBits(arrays.Back(gated, rows * experts), sums));
  }
}

void SumsOfExpertsAreThoseOfOneAtATime(DeviceBackend& device, bool narrows) {
  const WeightFormat int8(shard_loader::Codes::kInt8, 32, DType::kBF16);
  const WeightFormat int4(shard_loader::Codes::kInt4, 32, DType::kF16);
  std::vector<WeightFormat> formats = {DType::kBF16, DType::kF16};
  if (!narrows) formats = {DType::kF32, DType::kBF16, int8, int4};
  uint64_t seed = 1;
  for (const WeightFormat& format : formats) {
    for (const bool lanes : {false, true}) {
      CheckSums(device, {1, format, lanes, true}, 2, ++seed);
      CheckSums(device, {3, format, lanes, lanes}, 1, ++seed);
      CheckSums(device, {21, format, lanes, !lanes}, 2, ++seed);
    }
  }
  // Enough of each expert for the largest tiles.
  CheckSums(device, {60, formats.front(), true, true}, 6, ++seed);
}

}  // namespace tessera::tests
