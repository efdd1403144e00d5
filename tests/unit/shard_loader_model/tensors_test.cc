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
  CHECK(LayerRoles(spec).size() == 12);
  spec.attention.output_bias = true;
  CHECK(LayerRoles(spec).size() == 13);
  spec.attention.qk_norm = true;
  CHECK(LayerRoles(spec).size() == 15);
  spec.mlp.bias = true;
  CHECK(LayerRoles(spec).size() == 18);
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
  CHECK(LayerElements(spec) == 1640);
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

}  // namespace
}  // namespace tessera::shard_loader
