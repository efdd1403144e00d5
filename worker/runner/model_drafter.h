// Guesses by a smaller model with the same vocabulary (Leviathan et al., arXiv:2211.17192; here a
// guess counts where it is the very token that is drawn, so no answer changes).
#ifndef TESSERA_WORKER_RUNNER_MODEL_DRAFTER_H_
#define TESSERA_WORKER_RUNNER_MODEL_DRAFTER_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "shard_loader/load/checkpoint.h"
#include "shard_loader/plan/kv_format.h"
#include "shard_loader/plan/weight_format.h"
#include "worker/backend/backend.h"
#include "worker/comm/group_comms.h"
#include "worker/model/decoder.h"
#include "worker/model/kv_cache.h"
#include "worker/model/workspace.h"
#include "worker/runner/drafter.h"
#include "worker/runner/host_side.h"
#include "worker/sampling/sampler.h"

namespace tessera::worker {

// Its cache has the same blocks under the same numbers as the model's, so that what shares or
// copies those shares or copies these. A guess is drawn as the token will be, with the same
// parameters and the same random number: the likelier both models find the same, the more often it
// is right.
class ModelDrafter final : public Drafter {
 public:
  struct Options {
    int64_t vocab_size = 0;  // of the model that is guessed
    shard_loader::WeightFormat dtype;
    shard_loader::KvFormat kv_dtype;
    int64_t num_kv_blocks = 0;
    int64_t max_model_len = 0;
  };

  // Reads the checkpoint. `backend` and `layers_done` are borrowed. FAILED_PRECONDITION where its
  // vocabulary is another one; errors of the checkpoint.
  static absl::StatusOr<std::unique_ptr<ModelDrafter>> Create(
      const Options& options, const shard_loader::Checkpoint& checkpoint, Backend* backend,
      std::atomic<uint64_t>* layers_done);

  absl::Status Propose(absl::Span<DraftRequest> requests) override;
  int64_t weight_bytes() const { return weight_bytes_; }
  int64_t workspace_bytes() const { return workspace_.layout().bytes(); }
  int64_t kv_bytes() const { return cache_.bytes(); }
  void Follow(const StepInput& step) override;

 private:
  // A token of a request that is computed; where it is the last one known, its successor is drawn.
  struct Row {
    DraftRequest* request;
    uint32_t position;
    bool draws;
  };

  ModelDrafter(const shard_loader::DecoderSpec& spec, const shard_loader::RankPlan& plan,
               std::unique_ptr<const Weights> weights, int64_t max_model_len, KvCache cache,
               Workspace workspace);

  // Tokens of the sequence, from its first, whose keys and values lie in the draft's cache.
  uint32_t Computed(const Sequence& sequence) const;
  absl::Status Compute(absl::Span<const Row> rows);
  absl::Status Draw(absl::Span<const Row> rows);
  // Rows of `logits`, the device's, of `rows` in their order.
  absl::Status DrawOnDevice(absl::Span<const Row* const> rows, const float* logits);
  // From one row of logits that lies on the host.
  void DrawHere(const float* logits, DraftRequest* request);
  void Take(uint32_t id, DraftRequest* request);

  const int64_t vocab_size_;
  const int64_t vocab_block_;
  const int64_t weight_bytes_;
  KvCache cache_;
  Workspace workspace_;
  const Decoder decoder_;
  GroupComms comms_;  // of this rank alone
  Backend* backend_ = nullptr;
  std::atomic<uint64_t>* layers_done_ = nullptr;
  std::unique_ptr<HostSide> side_;  // where the backend computes in memory of its own
  std::unique_ptr<Sampler> sampler_;
  // [blocks]: its first slots that hold keys and values of its sequence's tokens, not of guesses.
  std::vector<uint8_t> filled_;
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_RUNNER_MODEL_DRAFTER_H_
