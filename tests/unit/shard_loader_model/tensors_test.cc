#include "shard_loader/model/tensors.h"

#include <catch2/catch.hpp>

namespace tessera::shard_loader {
namespace {

DecoderSpec Spec() {
  DecoderSpec spec;
  spec.num_layers = 2;
  spec.hidden_size = 10;
  spec.vocab_size = 100;
  spec.attention.num_heads = 6;
  spec.attention.num_kv_heads = 3;
  spec.attention.head_size = 4;
  spec.mlp.intermediate_size = 30;
  return spec;
}

TEST_CASE("a plain model has nine weights a layer, an embedding, a norm and a head") {
  const auto ids = ModelTensors(Spec());
  CHECK(ids.size() == 2 * 9 + 3);
  CHECK(ids.front() == TensorId{-1, TensorRole::kEmbedding});
  CHECK(ids.back() == TensorId{-1, TensorRole::kHead});
}

TEST_CASE("biases, norms of q and k, and ties change the list") {
  DecoderSpec spec = Spec();
  spec.attention.qkv_bias = true;
  CHECK(LayerTensors(spec, 0).size() == 12);
  spec.attention.output_bias = true;
  CHECK(LayerTensors(spec, 0).size() == 13);
  spec.attention.qk_norm = QkNorm::kPerHead;
  CHECK(LayerTensors(spec, 0).size() == 15);
  spec.mlp.bias = true;
  CHECK(LayerTensors(spec, 0).size() == 18);
  spec.tied_embeddings = true;
  CHECK(ModelTensors(spec).back() == TensorId{-1, TensorRole::kFinalNorm});
}

TEST_CASE("shapes are rows by columns as stored") {
  const DecoderSpec spec = Spec();
  using Shape = std::vector<int64_t>;
  CHECK(TensorShape(spec, TensorRole::kEmbedding) == Shape{100, 10});
  CHECK(TensorShape(spec, TensorRole::kQuery) == Shape{24, 10});
  CHECK(TensorShape(spec, TensorRole::kKey) == Shape{12, 10});
  CHECK(TensorShape(spec, TensorRole::kOutput) == Shape{10, 24});
  CHECK(TensorShape(spec, TensorRole::kDown) == Shape{10, 30});
  CHECK(TensorShape(spec, TensorRole::kValueBias) == Shape{12});
  CHECK(TensorShape(spec, TensorRole::kQueryNorm) == Shape{4});
  // 24*10 + 2*12*10 + 10*24 + 3*30*10 + 2*10
  CHECK(LayerElements(spec, 0) == 1640);
}

TEST_CASE("row-parallel weights are cut by columns, column-parallel ones by rows") {
  const DecoderSpec spec = Spec();
  CHECK(CutOf(spec, TensorRole::kOutput).axis == 1);
  CHECK(CutOf(spec, TensorRole::kOutput).by == CutBy::kHeads);
  CHECK(CutOf(spec, TensorRole::kOutput).per_unit == 4);
  CHECK(CutOf(spec, TensorRole::kDown).axis == 1);
  CHECK(CutOf(spec, TensorRole::kGate).axis == 0);
  CHECK(CutOf(spec, TensorRole::kKey).by == CutBy::kKvHeads);
  CHECK(CutOf(spec, TensorRole::kOutputBias).by == CutBy::kNothing);
  CHECK(CutOf(spec, TensorRole::kDownBias).by == CutBy::kNothing);
}

TEST_CASE("names of ours tell layer and role") {
  CHECK(TensorName({-1, TensorRole::kEmbedding}) == "embedding");
  CHECK(TensorName({3, TensorRole::kDown}) == "layers.3.down");
}

TEST_CASE("a layer with experts has a router, each expert's matrices, and shared ones") {
  DecoderSpec spec = Spec();
  spec.moe.num_experts = 3;
  spec.moe.intermediate_size = 7;
  spec.moe.shared_columns = 5;
  spec.moe.on_layer = {false, true};
  CHECK(LayerTensors(spec, 0).size() == 9);
  // Two norms, four of attention, the router, three of each expert, three shared.
  const std::vector<TensorId> ids = LayerTensors(spec, 1);
  CHECK(ids.size() == 6 + 1 + 9 + 3);
  CHECK(ids[7] == TensorId{1, TensorRole::kExpertGate, 0});
  CHECK(TensorName(ids[11]) == "layers.1.expert_up.1");
  CHECK(TensorShape(spec, TensorRole::kExpertDown) == std::vector<int64_t>{10, 7});
  CHECK(CutOf(spec, TensorRole::kExpertDown).by == CutBy::kExpertColumns);
  // 720 of attention, 20 of norms, 30, 3 * 210, 150
  CHECK(LayerElements(spec, 1) == 1550);
}

TEST_CASE("norms, biases and projections come with what the spec says") {
  DecoderSpec spec = Spec();
  spec.norm = {.kind = NormKind::kLayer, .bias = true};
  spec.num_position_rows = 66;
  spec.embedding_size = 6;
  spec.embedding_norm = true;
  spec.head_bias = true;
  CHECK(FrontTensors(spec).size() == 5);
  CHECK(BackTensors(spec).size() == 5);
  CHECK(TensorShape(spec, TensorRole::kEmbedding) == std::vector<int64_t>{100, 6});
  CHECK(TensorShape(spec, TensorRole::kPositionEmbedding) == std::vector<int64_t>{66, 10});
  spec.mlp.gated = false;
  CHECK(LayerTensors(spec, 0).size() == 10);  // two biases more, no gate
  spec.residual = Residual::kParallelOneNorm;
  CHECK(LayerTensors(spec, 0).size() == 8);
  spec.norm.weight = false;
  spec.norm.bias = false;
  CHECK(LayerTensors(spec, 0).size() == 6);
}

TEST_CASE("latent attention has two products for keys and values") {
  DecoderSpec spec = Spec();
  spec.attention.num_kv_heads = 6;
  spec.attention.head_size = 12;
  spec.attention.value_size = 5;
  spec.attention.rotary_begin = 8;
  spec.attention.rotary_size = 4;
  spec.attention.latent = {.query_rank = 9, .kv_rank = 7};
  using Shape = std::vector<int64_t>;
  CHECK(TensorShape(spec, TensorRole::kQuery) == Shape{72, 9});
  CHECK(TensorShape(spec, TensorRole::kLatentDown) == Shape{7, 10});
  CHECK(TensorShape(spec, TensorRole::kKeyRope) == Shape{4, 10});
  CHECK(TensorShape(spec, TensorRole::kKey) == Shape{48, 7});
  CHECK(TensorShape(spec, TensorRole::kValue) == Shape{30, 7});
  CHECK(TensorShape(spec, TensorRole::kOutput) == Shape{10, 30});
  CHECK(CutOf(spec, TensorRole::kKey).per_unit == 8);
  CHECK(CutOf(spec, TensorRole::kValue).per_unit == 5);
}

}  // namespace
}  // namespace tessera::shard_loader
