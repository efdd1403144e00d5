// Quantised checkpoints held as the integers that they are.
#include <catch2/catch.hpp>
#include <cstring>
#include <string>
#include <vector>

#include "shard_loader/load/block_format.h"
#include "tests/support/fixtures.h"
#include "worker/backend/coded_matrix.h"
#include "worker/model/load_weights.h"

namespace tessera::worker {
namespace {

using shard_loader::Checkpoint;
using shard_loader::DType;
using shard_loader::WeightFormat;

std::unique_ptr<const Weights> Load(const Checkpoint& checkpoint,
                                    const shard_loader::RankPlan& plan,
                                    const WeightFormat& format) {
  PrivateImages images;
  auto loaded = LoadWeights(checkpoint, plan, format, images, {.threads = 2});
  INFO(loaded.status().ToString());
  REQUIRE(loaded.ok());
  return std::move(loaded->weights);
}

std::vector<const PackedMatrix*> MatricesOf(const Weights& weights) {
  std::vector<const PackedMatrix*> matrices = {&weights.embedding(), &weights.head()};
  for (const LayerWeights& layer : weights.layers()) {
    for (const PackedMatrix* matrix : {&layer.query, &layer.key, &layer.value, &layer.output,
                                       &layer.mlp.gate, &layer.mlp.up, &layer.mlp.down}) {
      matrices.push_back(matrix);
    }
  }
  return matrices;
}

// Every element of every matrix of every rank has the bits of the dequantised block.
// `count` of the nine matrices are such blocks.
void CheckLossless(const std::string& fixture, const char* dtype, const char* format_name,
                   int count) {
  const auto checkpoint = Checkpoint::Open(tests::Fixture(fixture)).value();
  const WeightFormat format = shard_loader::FormatFor(*checkpoint, dtype).value();
  CHECK(shard_loader::WeightFormatName(format) == format_name);
  for (const int tp : {1, 2, 3}) {
    const auto plans = shard_loader::MakeRankPlans(checkpoint->spec(), {tp, 1}).value();
    for (const auto& plan : plans) {
      INFO(fixture << " in " << dtype << ", rank " << plan.rank << " of " << tp);
      const auto coded = Load(*checkpoint, plan, format);
      const auto wide = Load(*checkpoint, plan, DType::kF32);
      CHECK(coded->bytes() < wide->bytes() / 2);
      const std::vector<const PackedMatrix*> found = MatricesOf(*coded);
      const std::vector<const PackedMatrix*> expected = MatricesOf(*wide);
      // Embedding and head come first.
      for (size_t i = expected.size() - static_cast<size_t>(count); i < expected.size(); ++i) {
        INFO("matrix " << i);
        REQUIRE(found[i]->codes != shard_loader::Codes::kNone);
        std::vector<float> row(expected[i]->columns);
        std::vector<float> wanted(expected[i]->columns);
        for (int64_t r = 0; r < expected[i]->rows; ++r) {
          ReadRow(*found[i], r, row.data());
          ReadRow(*expected[i], r, wanted.data());
          REQUIRE(std::memcmp(row.data(), wanted.data(), row.size() * sizeof(float)) == 0);
        }
      }
    }
  }
}

TEST_CASE("blocks of 8 bits are held as they are") {
  CheckLossless("gguf_blocks/q8_0", "int8", "int8-g32-f16-whole", 9);
}

TEST_CASE("blocks of 4 bits are held as they are, in 4 bits and in 8") {
  CheckLossless("gguf_blocks/q4_0", "int4", "int4-g32-f16-whole", 9);
  CheckLossless("gguf_blocks/q4_0", "int8", "int8-g32-f16-whole", 9);
}

TEST_CASE("blocks of 4 bits with minima are held as they are, but for embeddings and heads") {
  CheckLossless("gguf_blocks/q4_1", "int4", "int4o-g32-f16-whole", 7);
}

TEST_CASE("what holds no blocks is quantised as everywhere") {
  // The second has a matrix in 16 bits whose columns ranks share.
  for (const char* fixture : {"formats/gguf_llama_f16", "formats/gguf_llama_q8_0"}) {
    const auto checkpoint = Checkpoint::Open(tests::Fixture(fixture)).value();
    CHECK(shard_loader::FormatFor(*checkpoint, "int8") == shard_loader::ParseWeightFormat("int8"));
    CHECK_FALSE(shard_loader::FormatFor(*checkpoint, "int8-g32-f16-whole"));
    CHECK_FALSE(shard_loader::FormatFor(*checkpoint, "int9"));
  }
  const auto q8 = Checkpoint::Open(tests::Fixture("gguf_blocks/q8_0")).value();
  CHECK(shard_loader::FormatFor(*q8, "int4") == shard_loader::ParseWeightFormat("int4"));
  CHECK(shard_loader::FormatFor(*q8, "int8-g32") == shard_loader::ParseWeightFormat("int8-g32"));
}

}  // namespace
}  // namespace tessera::worker
