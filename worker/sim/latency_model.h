// How long a simulated stage takes for a step. Pure arithmetic.
#ifndef TESSERA_WORKER_SIM_LATENCY_MODEL_H_
#define TESSERA_WORKER_SIM_LATENCY_MODEL_H_

#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "shard_loader/model/decoder_spec.h"
#include "shard_loader/plan/kv_format.h"
#include "shard_loader/plan/rank_plan.h"

namespace tessera::worker {

// Of a device that holds the whole model.
struct LatencyModel {
  double fixed_us = 2000;   // every step: weights read, kernels launched
  double token_us = 20;     // each token of a step; shared by the tensor-parallel ranks
  double kv_gbps = 1000.0;  // 10^9 bytes per second at which a rank reads its share of the KV cache
};

// What a step makes the model do.
struct StepLoad {
  uint64_t tokens = 0;     // computed
  uint64_t kv_tokens = 0;  // whose keys and values are read, once for every sequence
};

// A stage's part of the model.
struct StageShare {
  double layers = 1;              // of all of them
  uint32_t tp = 1;                // ranks of the stage
  double kv_bytes_per_token = 0;  // on the rank that holds most
  friend bool operator==(const StageShare&, const StageShare&) = default;
};

// By stage. `plans`: of all ranks, in their order.
std::vector<StageShare> StageShares(const shard_loader::DecoderSpec& spec,
                                    absl::Span<const shard_loader::RankPlan> plans,
                                    const shard_loader::KvFormat& kv_format);

absl::Duration StageTime(const LatencyModel& model, const StageShare& share, const StepLoad& load);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_SIM_LATENCY_MODEL_H_
