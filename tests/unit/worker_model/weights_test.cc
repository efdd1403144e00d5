#include "worker/model/weights.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cstring>
#include <vector>

#include "shard_loader/model/tensors.h"
#include "worker/tensor/convert.h"

namespace tessera::worker {
namespace {

using shard_loader::DecoderSpec;
using shard_loader::DType;
using shard_loader::RankPlan;
using shard_loader::TensorId;
using shard_loader::TensorRole;

DecoderSpec TinySpec() {
  DecoderSpec spec;
  spec.num_layers = 1;
  spec.hidden_size = 4;
  spec.vocab_size = 20;
  spec.attention.num_heads = 2;
  spec.attention.num_kv_heads = 1;
  spec.attention.head_size = 2;
  spec.attention.windows = {0};
  spec.mlp.intermediate_size = 8;
  return spec;
}

RankPlan WholePlan(const DecoderSpec& spec) {
  auto plans = shard_loader::MakeRankPlans(spec, {1, 1, 8});
  REQUIRE(plans.ok());
  return (*plans)[0];
}

// Element i is i / 4.
std::vector<std::byte> Ramp(int64_t count, DType dtype) {
  std::vector<std::byte> bytes(count * DTypeSize(dtype));
  for (int64_t i = 0; i < count; ++i) StoreElement(i * 0.25f, bytes.data(), i, dtype);
  return bytes;
}

absl::Status AddRamp(WeightsBuilder& builder, const DecoderSpec& spec, TensorId id, DType dtype) {
  const std::vector<int64_t> shape = shard_loader::TensorShape(spec, id.role);
  const std::vector<std::byte> bytes = Ramp(shard_loader::NumElements(shape), dtype);
  return builder.Add({id, dtype, shape, {0, shape[0]}, bytes});
}

absl::StatusOr<WeightsBuilder> MakeBuilder(const DecoderSpec& spec, DType dtype) {
  int64_t bytes = shard_loader::MakePackedLayout(spec, WholePlan(spec), dtype).bytes;
  return WeightsBuilder::Create(spec, WholePlan(spec), dtype, *Buffer::Allocate(bytes, "a test"));
}

absl::StatusOr<std::unique_ptr<const Weights>> Finish(WeightsBuilder& builder,
                                                      const DecoderSpec& spec, DType dtype) {
  auto image = builder.Finish();
  if (!image.ok()) return image.status();
  return Weights::Create(spec, WholePlan(spec), dtype, *std::move(image));
}

TEST_CASE("weights are packed in tiles, matrices in their dtype and vectors in fp32") {
  const DecoderSpec spec = TinySpec();
  for (DType stored : {DType::kF32, DType::kF16, DType::kBF16}) {
    auto builder = MakeBuilder(spec, DType::kF16);
    REQUIRE(builder.ok());
    for (const TensorId& id : shard_loader::ModelTensors(spec)) {
      REQUIRE(AddRamp(*builder, spec, id, stored).ok());
    }
    auto weights = Finish(*builder, spec, DType::kF16);
    REQUIRE(weights.ok());
    const PackedMatrix& head = (*weights)->head();
    CHECK(head.dtype == DType::kF16);
    CHECK(head.rows == 20);
    for (int64_t row = 0; row < 20; ++row) {
      for (int64_t column = 0; column < 4; ++column) {
        const float value = LoadElement(
            head.data, shard_loader::PackedIndex(row, column, 4, DType::kF16), DType::kF16);
        CHECK(value == (row * 4 + column) * 0.25f);
      }
    }
    // The rows that the last tile has too many are zeros.
    CHECK(LoadElement(head.data, shard_loader::PackedIndex(31, 3, 4, DType::kF16), DType::kF16) ==
          0.0f);
    CHECK((*weights)->layers()[0].mlp_norm.weight[3] == 0.75f);
    CHECK((*weights)->layers()[0].query_bias == nullptr);
    CHECK((*weights)->layers()[0].mlp.down.columns == 8);
  }
}

TEST_CASE("a weight that comes in parts is packed as the whole one, in any order, once") {
  DecoderSpec spec = TinySpec();
  spec.mlp.intermediate_size = 40;
  for (DType stored : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (DType held : {DType::kF32, DType::kBF16, DType::kF16}) {
      auto whole = MakeBuilder(spec, held);
      auto parts = MakeBuilder(spec, held);
      REQUIRE(whole.ok());
      REQUIRE(parts.ok());
      for (const TensorId& id : shard_loader::ModelTensors(spec)) {
        REQUIRE(AddRamp(*whole, spec, id, stored).ok());
        const std::vector<int64_t> shape = shard_loader::TensorShape(spec, id.role);
        const int64_t row = DTypeSize(stored) * (shape.size() > 1 ? shape[1] : 1);
        const auto bytes = Ramp(shard_loader::NumElements(shape), stored);
        for (int64_t begin = (shape[0] - 1) / 16 * 16; begin >= 0; begin -= 16) {
          const int64_t end = std::min<int64_t>(begin + 16, shape[0]);
          const absl::Span<const std::byte> rows(bytes.data() + begin * row, (end - begin) * row);
          REQUIRE(parts->Add({id, stored, shape, {begin, end}, rows}).ok());
          CHECK_FALSE(parts->Add({id, stored, shape, {begin, end}, rows}).ok());
        }
      }
      const Buffer a = whole->Finish().value();
      const Buffer b = parts->Finish().value();
      REQUIRE(a.size() == b.size());
      CHECK(std::memcmp(a.data(), b.data(), static_cast<size_t>(a.size())) == 0);
    }
  }
}

TEST_CASE("with tied embeddings on one rank the head is the embedding") {
  DecoderSpec spec = TinySpec();
  spec.tied_embeddings = true;
  auto builder = MakeBuilder(spec, DType::kF32);
  REQUIRE(builder.ok());
  for (const TensorId& id : shard_loader::ModelTensors(spec)) {
    REQUIRE(AddRamp(*builder, spec, id, DType::kF32).ok());
  }
  auto weights = Finish(*builder, spec, DType::kF32);
  REQUIRE(weights.ok());
  CHECK((*weights)->head().data == (*weights)->embedding().data);
}

TEST_CASE("a weight that is missing, unknown, twice there or misshapen is named") {
  const DecoderSpec spec = TinySpec();
  auto builder = MakeBuilder(spec, DType::kF32);
  REQUIRE(builder.ok());
  const TensorId gate = {0, TensorRole::kGate};
  const auto bytes = Ramp(32, DType::kF32);
  auto message = [](const absl::Status& status) {
    REQUIRE(absl::IsFailedPrecondition(status));
    return std::string(status.message());
  };
  CHECK_THAT(
      message(builder->Add({gate, DType::kF32, {4, 8}, {0, 4}, bytes})),
      Catch::Contains("layers.0.gate") && Catch::Contains("[4, 8]") && Catch::Contains("[8, 4]"));
  CHECK_THAT(message(builder->Add({gate, DType::kF16, {8, 4}, {0, 8}, bytes})),
             Catch::Contains("128 bytes"));
  CHECK(builder->Add({gate, DType::kF32, {8, 4}, {0, 8}, bytes}).ok());
  CHECK_THAT(message(builder->Add({gate, DType::kF32, {8, 4}, {0, 8}, bytes})),
             Catch::Contains("twice"));
  CHECK_THAT(message(builder->Add({{3, TensorRole::kGate}, DType::kF32, {8, 4}, {0, 8}, bytes})),
             Catch::Contains("layers.3.gate"));
  CHECK_THAT(message(builder->Finish().status()), Catch::Contains("embedding"));
}

}  // namespace
}  // namespace tessera::worker
