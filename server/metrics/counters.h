// What the server counts about itself. Written by the engine, read by anyone.
#ifndef TESSERA_SERVER_METRICS_COUNTERS_H_
#define TESSERA_SERVER_METRICS_COUNTERS_H_

#include <atomic>
#include <cstdint>

#include "server/metrics/latency_histogram.h"
#include "server/metrics/rate_meter.h"

namespace tessera::server {

// Thread-safe; the values are not a consistent set.
struct Counters {
  using Count = std::atomic<uint64_t>;

  // Now.
  Count running{0};  // sequences that hold KV blocks
  Count waiting{0};
  Count queued{0};  // of those: have not been in any step yet
  Count kv_blocks_total{0};
  Count kv_blocks_free{0};
  Count kv_slots_total{0};  // for evicted blocks, outside the cache
  Count kv_slots_used{0};
  // Since the start.
  Count requests_total{0};  // accepted by the engine
  Count requests_failed{0};
  Count requests_cancelled{0};  // by the client, its deadline, or for reading too slowly
  Count prompt_tokens_total{0};
  Count completion_tokens_total{0};
  Count steps_total{0};
  Count preemptions_total{0};
  Count tokens_replayed_total{0};  // of running requests whose group was lost
  Count cached_tokens_total{0};    // of prompts: found in the prefix cache
  Count prefill_tokens_total{0};   // computed of prompts, and of logs computed again
  Count blocks_spilled_total{0};
  Count blocks_fetched_total{0};
  Count fetched_tokens_total{0};  // in them, not computed
  // Nanoseconds, while there are requests: with a step under way, and without one.
  Count workers_ns{0};
  Count server_ns{0};
  Count engine_cpu_ns{0};  // CPU time of the engine's thread
  LatencyHistogram queue_time;
  LatencyHistogram time_to_first_token;
  LatencyHistogram inter_token;
  LatencyHistogram end_to_end;
  LatencyHistogram step_time;
  RateMeter output_tokens;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_METRICS_COUNTERS_H_
