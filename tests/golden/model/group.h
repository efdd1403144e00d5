// A tp x pp group in one process, for tests: ranks are threads with local communicators.
#ifndef TESSERA_TESTS_GOLDEN_MODEL_GROUP_H_
#define TESSERA_TESTS_GOLDEN_MODEL_GROUP_H_

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "shard_loader/load/checkpoint.h"
#include "worker/backend/backend.h"
#include "worker/comm/communicator.h"
#include "worker/runner/runner.h"
#include "worker/runner/step.h"

namespace tessera::tests {

struct GroupOptions {
  int tp = 1;
  int pp = 1;
  int lanes = 8;
  int ep = 1;
  shard_loader::WeightFormat dtype;
  shard_loader::KvFormat kv_dtype;
  std::string kernels = "auto";
  std::function<absl::StatusOr<std::unique_ptr<worker::Backend>>()> make_backend;
  int threads = 1;
  uint32_t max_model_len = 512;
  uint32_t max_num_batched_tokens = 256;
  uint32_t max_num_seqs = 32;
  uint32_t num_kv_blocks = 256;
  uint32_t num_kv_slots = 0;   // for evicted blocks
  std::string kv_offload_dir;  // for a file of them; empty: in memory
  // What a rank uses for the communicator of its stage; null: the communicator itself.
  std::function<std::unique_ptr<worker::Communicator>(std::unique_ptr<worker::Communicator>)>
      wrap_tensor;
  worker::SpeculationOptions speculation;
  std::filesystem::path draft;  // a model that guesses; empty: none
};

// What came of one sequence.
struct Answer {
  std::vector<worker::Token> tokens;
  std::vector<worker::Token> prompt_tokens;
  worker::Finish finish = worker::Finish::kRunning;
  std::string error;
};

// Equal bits.
bool operator==(const Answer& a, const Answer& b);

// "" where they are equal, else the first difference in words.
std::string Difference(const Answer& a, const Answer& b);

class Group {
 public:
  // Throws std::runtime_error with the status's text, as tests do.
  Group(const std::filesystem::path& model, const GroupOptions& options);

  // One step on every rank; checks that all ranks drew the same ids.
  absl::StatusOr<worker::StepOutput> Run(const worker::StepInput& step);

  // Runs `starts` together until all have ended: each step takes at most `chunk` tokens of each, in
  // a budget of max_num_batched_tokens.
  std::vector<Answer> Generate(std::vector<worker::SequenceStart> starts, uint32_t chunk = 64);

  // Steps of Generate that had something to compute.
  uint64_t num_steps() const { return num_steps_; }

  worker::Runner& runner(int rank) { return *runners_[rank]; }
  const shard_loader::DecoderSpec& spec() const { return checkpoint_->spec(); }

 private:
  GroupOptions options_;
  std::unique_ptr<shard_loader::Checkpoint> checkpoint_;
  std::unique_ptr<shard_loader::Checkpoint> draft_;
  std::vector<std::unique_ptr<worker::Runner>> runners_;
  uint64_t next_step_ = 1;
  uint64_t next_sequence_ = 1;
  uint64_t num_steps_ = 0;
};

// A greedy start with all logprobs off.
worker::SequenceStart GreedyStart(const std::vector<uint32_t>& prompt, uint32_t max_tokens);

}  // namespace tessera::tests

#endif  // TESSERA_TESTS_GOLDEN_MODEL_GROUP_H_
