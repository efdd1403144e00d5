// The weights that a DecoderSpec asks for: which, in what shape, and how they are cut.
#ifndef TESSERA_SHARD_LOADER_MODEL_TENSORS_H_
#define TESSERA_SHARD_LOADER_MODEL_TENSORS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "shard_loader/model/decoder_spec.h"

namespace tessera::shard_loader {

// The sharded dimension along which a role is cut between tensor-parallel ranks.
enum class CutBy {
  kNothing,  // whole on every rank
  kHeads,    // `per_unit` elements of the axis for each query head
  kKvHeads,  // for each KV head
  kColumns,  // MLP columns
  kExpertColumns,
  kSharedColumns,
  kVocab,  // token ids
};

struct RoleCut {
  CutBy by = CutBy::kNothing;
  int axis = 0;          // 0: rows, 1: columns
  int64_t per_unit = 1;  // elements of the axis for one unit
};

// Of one layer, in the order of the forward pass, experts ascending; those that the spec does not
// have are left out.
std::vector<TensorId> LayerTensors(const DecoderSpec& spec, int64_t layer);

// Those of the first stage beside its layers, and of the last one. The head is absent where tied.
std::vector<TensorId> FrontTensors(const DecoderSpec& spec);
std::vector<TensorId> BackTensors(const DecoderSpec& spec);

// Every tensor of the model: embedding, layers ascending, final norm, head (absent where tied).
std::vector<TensorId> ModelTensors(const DecoderSpec& spec);

// The shape that the comment at TensorRole gives, in numbers. At most two dimensions.
std::vector<int64_t> TensorShape(const DecoderSpec& spec, TensorRole role);

// Norm weights, of which a NormSpec may store one less.
bool IsNormWeight(TensorRole role);

RoleCut CutOf(const DecoderSpec& spec, TensorRole role);

// Elements of a shape.
int64_t NumElements(const std::vector<int64_t>& shape);

// Elements of all the weights of one layer.
int64_t LayerElements(const DecoderSpec& spec, int64_t layer);

// "layers.3.query", "layers.3.expert_up.7", "embedding": our name, for messages and reports.
std::string TensorName(TensorId id);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_MODEL_TENSORS_H_
