// Reports on a checkpoint and on its plan, for `tessera inspect` and `tessera plan`.
#ifndef TESSERA_SHARD_LOADER_LOAD_DESCRIBE_H_
#define TESSERA_SHARD_LOADER_LOAD_DESCRIBE_H_

#include <cstdint>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "shard_loader/load/checkpoint.h"
#include "shard_loader/plan/memory.h"
#include "shard_loader/plan/rank_plan.h"
#include "shard_loader/plan/weight_format.h"

namespace tessera::shard_loader {

// Family, sizes, dtypes, files, and the name in the checkpoint of every weight.
nlohmann::json InspectJson(const Checkpoint& checkpoint);
std::string InspectText(const Checkpoint& checkpoint);

struct PlanRequest {
  Layout layout;
  bool memory = false;                       // say what every rank takes, and whether it fits
  std::optional<WeightFormat> weight_dtype;  // absent: as stored
  std::optional<KvFormat> kv_dtype;          // absent: as the weights are held
  StepLimits limits{256, 64};                // the defaults of CPUs
  int64_t max_model_len = 0;                 // 0: the model's context length
  int64_t num_kv_blocks = 0;                 // 0: automatic
  int64_t offload_bytes = 0;                 // of each rank, for evicted KV blocks; 0: none
  bool offload_to_file = false;              // else of the host's memory
  std::optional<int64_t> available_bytes;    // absent: this host's, within its cgroup
  bool ranks_share_memory = true;            // false: one host, or device, per rank
  int replicas = 1;                          // of the group; they share the host's memory too
};

// The options of plan/memory.h that a request means for this checkpoint.
absl::StatusOr<MemoryOptions> ToMemoryOptions(const Checkpoint& checkpoint,
                                              const PlanRequest& request);

// What every rank will read and hold. A model that does not fit is reported ("fits": false and
// why), not an error; FAILED_PRECONDITION: impossible degrees.
absl::StatusOr<nlohmann::json> PlanJson(const Checkpoint& checkpoint, const PlanRequest& request);
absl::StatusOr<std::string> PlanText(const Checkpoint& checkpoint, const PlanRequest& request);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_LOAD_DESCRIBE_H_
