// A rank's weights: one packed image, and where each matrix and vector lies in it.
#ifndef TESSERA_WORKER_MODEL_WEIGHTS_H_
#define TESSERA_WORKER_MODEL_WEIGHTS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "shard_loader/load/load_shard.h"
#include "shard_loader/model/decoder_spec.h"
#include "shard_loader/model/dtype.h"
#include "shard_loader/mutex.h"
#include "shard_loader/plan/packed_layout.h"
#include "shard_loader/plan/rank_plan.h"
#include "shard_loader/plan/weight_format.h"
#include "worker/backend/ops.h"
#include "worker/tensor/buffer.h"

namespace tessera::worker {

// Null and empty where the spec does not have them. Borrowed from the image.
struct NormWeights {
  const float* weight = nullptr;
  const float* bias = nullptr;
};

struct MlpWeights {
  PackedMatrix gate, up, down;
  const float* gate_bias = nullptr;
  const float* up_bias = nullptr;
  const float* down_bias = nullptr;
};

struct LayerWeights {
  NormWeights attention_norm;
  PackedMatrix query_down, latent_down, key_rope;
  const float* query_down_norm = nullptr;
  const float* latent_norm = nullptr;
  PackedMatrix query, key, value, output;
  const float* query_bias = nullptr;
  const float* key_bias = nullptr;
  const float* value_bias = nullptr;
  NormWeights query_norm;
  NormWeights key_norm;
  const float* sinks = nullptr;
  const float* output_bias = nullptr;
  const float* post_attention_norm = nullptr;
  NormWeights mlp_norm;
  MlpWeights mlp;
  PackedMatrix router;
  const float* router_bias = nullptr;
  const float* router_correction = nullptr;
  std::vector<MlpWeights> experts;          // those that the rank holds, ascending
  const float* expert_down_bias = nullptr;  // [experts of the model, hidden]
  MlpWeights shared;
  PackedMatrix shared_expert_gate;
  const float* post_mlp_norm = nullptr;
};

// Immutable, thread-safe.
class Weights {
 public:
  // The weights that lie in a finished image of the packed layout. INTERNAL where it has another
  // size.
  static absl::StatusOr<std::unique_ptr<const Weights>> Create(
      const shard_loader::DecoderSpec& spec, const shard_loader::RankPlan& plan,
      const shard_loader::WeightFormat& format, Buffer image);

  // The first stage's.
  const PackedMatrix& embedding() const { return embedding_; }
  const PackedMatrix& embedding_project() const { return embedding_project_; }
  const PackedMatrix& position_embedding() const { return position_embedding_; }
  const NormWeights& embedding_norm() const { return embedding_norm_; }
  const std::vector<LayerWeights>& layers() const { return layers_; }
  // The last stage's.
  const NormWeights& final_norm() const { return final_norm_; }
  const PackedMatrix& head_project() const { return head_project_; }
  const PackedMatrix& head() const { return head_; }
  const float* head_bias() const { return head_bias_; }
  int64_t bytes() const { return image_.size(); }

 private:
  Weights() = default;

  shard_loader::PackedLayout layout_;  // the matrices borrow their groups from it
  Buffer image_;
  PackedMatrix embedding_;
  PackedMatrix embedding_project_;
  PackedMatrix position_embedding_;
  NormWeights embedding_norm_;
  std::vector<LayerWeights> layers_;
  NormWeights final_norm_;
  PackedMatrix head_project_;
  PackedMatrix head_;
  const float* head_bias_ = nullptr;
};

// Packs the slices of a checkpoint as they come, in any order, narrowing or coding matrices to the
// format of the weights.
class WeightsBuilder {
 public:
  // `image`: zeroed memory of the packed layout's size; INTERNAL for another.
  static absl::StatusOr<WeightsBuilder> Create(const shard_loader::DecoderSpec& spec,
                                               const shard_loader::RankPlan& plan,
                                               const shard_loader::WeightFormat& format,
                                               Buffer image);

  // The rank's slice of one weight, or some rows of it that begin at a tile, row-major. May be
  // called from several threads, with different rows. FAILED_PRECONDITION where the rank holds none
  // of that name, in another shape, or has them already.
  absl::Status Add(const shard_loader::HostTensor& tensor);

  // The finished image. FAILED_PRECONDITION naming what is missing. The builder is empty
  // afterwards.
  absl::StatusOr<Buffer> Finish();

 private:
  WeightsBuilder() = default;
  absl::Status Count(size_t index, shard_loader::Range rows, const std::string& name);

  shard_loader::PackedLayout layout_;
  bool one_plus_ = false;  // norm weights are one more than what is stored
  // Rows that were added, and their number; index: in layout_.tensors.
  struct Progress {
    std::set<int64_t> begins;
    int64_t rows = 0;
  };
  std::unique_ptr<Mutex> mutex_ = std::make_unique<Mutex>();  // guards progress_
  std::vector<Progress> progress_;
  Buffer image_;
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_MODEL_WEIGHTS_H_
