// What a running server says of itself, as plain structs.
#ifndef TESSERA_CLIENT_LIB_SERVER_STATUS_H_
#define TESSERA_CLIENT_LIB_SERVER_STATUS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::client {

enum class ServerState {
  kUnspecified,
  kStarting,
  kLoading,
  kReady,
  kRecovering,
  kDraining,
  kFailed
};

// "starting", "loading", "ready", ...
std::string_view ToString(ServerState state);

struct RankStatus {
  uint32_t rank = 0;
  uint32_t stage = 0;
  uint32_t tp_index = 0;
  std::string address;
  uint32_t pid = 0;
  std::string host;
  std::string kernels;
  uint64_t weight_bytes = 0;
  uint64_t weight_bytes_read = 0;
  uint64_t kv_bytes = 0;
  double load_fraction = 0.0;  // 0 to 1
  double busy_seconds = 0.0;   // with steps of this epoch
  double idle_seconds = 0.0;   // between them
};

struct Loss {
  uint64_t epoch = 0;
  std::optional<uint32_t> rank;  // where one is to blame
  std::string cause;
  int64_t unix_ms = 0;                  // when it was noticed
  std::optional<double> pause_seconds;  // until the group was ready again; none: it is not yet
  uint64_t requests_replayed = 0;
  uint64_t tokens_replayed = 0;
  uint64_t requests_moved = 0;
  bool was_ready = false;  // else the group was being made
};

// Seconds.
struct LatencyFigures {
  uint64_t count = 0;
  double mean = 0.0;
  double p50 = 0.0;
  double p90 = 0.0;
  double p99 = 0.0;
  double max = 0.0;
};

// proto/tessera/v1/admin.proto says what each means.
struct EngineFigures {
  uint64_t running = 0;
  uint64_t waiting = 0;
  uint64_t requests_total = 0;
  uint64_t requests_failed = 0;
  uint64_t requests_cancelled = 0;
  uint64_t prompt_tokens_total = 0;
  uint64_t completion_tokens_total = 0;
  uint64_t steps_total = 0;
  uint64_t kv_blocks_total = 0;
  uint64_t kv_blocks_free = 0;
  uint64_t preemptions_total = 0;
  uint64_t tokens_replayed_total = 0;
  uint64_t queued = 0;
  uint64_t cached_tokens_total = 0;
  uint64_t prefill_tokens_total = 0;
  double output_tokens_per_second = 0.0;
  double workers_seconds = 0.0;
  double server_seconds = 0.0;
  double engine_cpu_seconds = 0.0;
  LatencyFigures queue_time;
  LatencyFigures time_to_first_token;
  LatencyFigures inter_token;
  LatencyFigures end_to_end;
  LatencyFigures step_time;
  uint64_t kv_slots_total = 0;
  uint64_t kv_slots_used = 0;
  uint64_t blocks_spilled_total = 0;
  uint64_t blocks_fetched_total = 0;
  uint64_t fetched_tokens_total = 0;
};

struct GroupStatus {
  ServerState state = ServerState::kUnspecified;
  uint64_t epoch = 0;
  uint32_t tp = 0;
  uint32_t pp = 0;
  std::string comm;
  std::vector<RankStatus> ranks;
  uint32_t restarts = 0;
  std::string last_loss;
  EngineFigures engine;
  std::vector<Loss> losses;  // the newest ones, oldest first
};

struct ServerStatus {
  ServerState state = ServerState::kUnspecified;
  std::string version;
  std::string model;
  std::string numerics_id;
  double uptime_seconds = 0.0;
  std::vector<GroupStatus> groups;
  EngineFigures engine;
  std::string message;  // what is wrong, or what is going on, in one sentence
};

// How much of the weights all ranks together have loaded, 0 to 1.
double LoadFraction(const ServerStatus& status);

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_LIB_SERVER_STATUS_H_
