// A rank's model, KV cache and sequences: takes steps in order, computes its shard of each over the
// communicators, and answers with the tokens drawn.
#ifndef TESSERA_WORKER_RUNNER_RUNNER_H_
#define TESSERA_WORKER_RUNNER_RUNNER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "shard_loader/model/decoder_spec.h"
#include "shard_loader/plan/kv_format.h"
#include "shard_loader/plan/rank_plan.h"
#include "shard_loader/plan/weight_format.h"
#include "worker/comm/device_comms.h"
#include "worker/comm/group_comms.h"
#include "worker/runner/step.h"

namespace tessera::shard_loader {
class Checkpoint;
}

namespace tessera::worker {

class Backend;
class Memory;
class WeightImages;

inline constexpr uint32_t kMaxSpeculativeTokens = 32;

// Guesses of the next tokens, which are computed beside them.
struct SpeculationOptions {
  uint32_t num_tokens = 0;  // guessed at a time, at most; 0: none
  // Of prompt lookup: the run of ids that is looked for has `ngram_max` to `ngram_min` of them.
  uint32_t ngram_min = 2;
  uint32_t ngram_max = 4;
  // A model with the same vocabulary guesses instead; read by the rank that draws. Borrowed while
  // the runner is made.
  const shard_loader::Checkpoint* draft = nullptr;
};

struct RunnerOptions {
  shard_loader::DecoderSpec spec;
  shard_loader::RankPlan plan;       // of this rank
  shard_loader::WeightFormat dtype;  // of the weights in memory
  shard_loader::KvFormat kv_dtype;   // of the KV cache
  std::string kernels = "auto";      // a kernel set (worker/backend/kernel_sets.h)
  // Makes the backend, of a device for instance, that `kernels` then only names. Null: the set of
  // this program with that name.
  std::function<absl::StatusOr<std::unique_ptr<Backend>>()> make_backend;
  uint32_t num_kv_blocks = 0;           // of kKvBlockTokens tokens
  uint32_t num_kv_slots = 0;            // for evicted blocks, outside the cache
  std::string kv_offload_dir;           // for a file that holds the slots; empty: in host memory
  uint32_t max_model_len = 0;           // tokens of a sequence, prompt and generated
  uint32_t max_num_batched_tokens = 0;  // of a step
  uint32_t max_num_seqs = 0;            // known at one time
  uint32_t max_logprobs = 20;           // of Token::top
  SpeculationOptions speculation;
  int threads = 0;        // 0: the CPUs that this process may run on
  std::vector<int> cpus;  // one for each thread in turn; empty: not pinned
  // Where the weights lie, borrowed for Create; null: in memory that is gone with the runner.
  WeightImages* images = nullptr;
  std::string
      trace_file;  // gets the residual's hashes (worker/model/residual_trace.h); empty: none
  // For tests: the order of a sum is changed from this position on (reordered_backend.h).
  std::optional<uint32_t> test_reorder_from;
};

// Bytes of this rank, as `shard_loader/plan/workspace.h` computes them before anything is read.
struct RunnerMemory {
  uint64_t bytes_read = 0;  // from the checkpoint
  uint64_t weight_bytes = 0;
  uint64_t workspace_bytes = 0;
  uint64_t kv_bytes = 0;
  absl::Duration kv_fetch_time;  // of a block from its slot, as measured; zero: there are none
};

// Called while the weights are read, from the thread that runs Create.
using LoadProgress = std::function<void(uint64_t bytes_done, uint64_t bytes_total)>;

// Everything belongs to one thread but for these: progress() and Abort() may be called from any.
//
// All ranks of a group run the same steps in the same order. Every rank learns every drawn id, so
// that all agree on each sequence's tokens and on where it ends: at a stop id (kept, as the last
// token), after max_tokens generated ones, or at max_model_len tokens.
class Runner {
 public:
  // Reads this rank's shard, or takes it from the images. Errors: those of the checkpoint;
  // INVALID_ARGUMENT (options that contradict each other), FAILED_PRECONDITION (kernels that this
  // machine does not run), RESOURCE_EXHAUSTED (no memory).
  static absl::StatusOr<std::unique_ptr<Runner>> Create(const RunnerOptions& options,
                                                        const shard_loader::Checkpoint& checkpoint,
                                                        const LoadProgress& progress);
  ~Runner();
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  // Once, before the first step. `device`: of the backend's memory; without them what lies there
  // goes over `comms` by way of the host. INVALID_ARGUMENT where the ranks are not those of the
  // plan.
  absl::Status Connect(GroupComms comms, DeviceComms device = {});
  // Of the backend: for device communicators.
  Memory& backend_memory();

  // Runs a step, and returns the outputs that are complete then, in the order of the steps. A rank
  // that does not draw learns the ids of a step only when a later one needs them, so that a stage
  // goes on with other sequences while the last one still works: until then the step is open. So
  // few steps are ever open that what is on its way to this rank holds up nobody.
  //
  // The results stand in the order of the entries; an entry of a sequence that had ended before has
  // none. INTERNAL for a step that the protocol does not allow (a sequence that is not known, more
  // tokens than blocks were granted for): nothing is changed by it, on any rank. Errors of the
  // communicators are passed on; after them the runner stays broken.
  absl::StatusOr<std::vector<StepOutput>> RunAhead(const StepInput& step);
  // Waits for the ids of all open steps, and returns their outputs.
  absl::StatusOr<std::vector<StepOutput>> Settle();
  size_t num_open() const;
  // One step to its end: RunAhead and Settle, for those who run nothing meanwhile. No step may be
  // open.
  absl::StatusOr<StepOutput> Run(const StepInput& step);

  // Layers done since Create; stands still when this rank hangs.
  uint64_t progress() const;

  // Ends a Run that waits for its peers, and every later one, with CANCELLED and `why`'s message.
  void Abort(const absl::Status& why);

  const RunnerMemory& memory() const;
  const std::string& kernels() const;  // the set in use: "avx512"
  int threads() const;

 private:
  class Impl;
  explicit Runner(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_RUNNER_RUNNER_H_
