// What the server counts about itself. Written by the engine, read by anyone.
#ifndef TESSERA_SERVER_METRICS_COUNTERS_H_
#define TESSERA_SERVER_METRICS_COUNTERS_H_

#include <atomic>
#include <cstdint>

namespace tessera::server {

// Thread-safe; the values are not a consistent set.
struct Counters {
  using Count = std::atomic<uint64_t>;

  // Now.
  Count running{0};  // sequences that hold KV blocks
  Count waiting{0};
  Count kv_blocks_total{0};
  Count kv_blocks_free{0};
  // Since the start.
  Count requests_total{0};  // accepted by the engine
  Count requests_failed{0};
  Count requests_cancelled{0};  // by the client, its deadline, or for reading too slowly
  Count prompt_tokens_total{0};
  Count completion_tokens_total{0};
  Count steps_total{0};
  Count preemptions_total{0};
  Count tokens_replayed_total{0};  // of running requests whose group was lost
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_METRICS_COUNTERS_H_
