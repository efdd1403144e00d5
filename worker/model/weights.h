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
#include "worker/backend/ops.h"
#include "worker/tensor/buffer.h"

namespace tessera::worker {

// Null and empty where the spec does not have them. Borrowed from the image.
struct LayerWeights {
  const float* attention_norm = nullptr;
  PackedMatrix query, key, value, output;
  const float* query_bias = nullptr;
  const float* key_bias = nullptr;
  const float* value_bias = nullptr;
  const float* query_norm = nullptr;
  const float* key_norm = nullptr;
  const float* output_bias = nullptr;
  const float* mlp_norm = nullptr;
  PackedMatrix gate, up, down;
  const float* gate_bias = nullptr;
  const float* up_bias = nullptr;
  const float* down_bias = nullptr;
};

// Immutable, thread-safe.
class Weights {
 public:
  // The weights that lie in a finished image of the packed layout. INTERNAL where it has another
  // size.
  static absl::StatusOr<std::unique_ptr<const Weights>> Create(
      const shard_loader::DecoderSpec& spec, const shard_loader::RankPlan& plan,
      shard_loader::DType dtype, Buffer image);

  const PackedMatrix& embedding() const { return embedding_; }  // the first stage's
  const std::vector<LayerWeights>& layers() const { return layers_; }
  const float* final_norm() const { return final_norm_; }  // the last stage's
  const PackedMatrix& head() const { return head_; }       // likewise
  int64_t bytes() const { return image_.size(); }

 private:
  Weights() = default;

  Buffer image_;
  PackedMatrix embedding_;
  std::vector<LayerWeights> layers_;
  const float* final_norm_ = nullptr;
  PackedMatrix head_;
};

// Packs the slices of a checkpoint as they come, in any order, narrowing matrices to the dtype of
// the weights.
class WeightsBuilder {
 public:
  // `image`: zeroed memory of the packed layout's size; INTERNAL for another.
  static absl::StatusOr<WeightsBuilder> Create(const shard_loader::DecoderSpec& spec,
                                               const shard_loader::RankPlan& plan,
                                               shard_loader::DType dtype, Buffer image);

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
