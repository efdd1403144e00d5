// What an operator may set of the engine.
#ifndef TESSERA_SERVER_ENGINE_ENGINE_OPTIONS_H_
#define TESSERA_SERVER_ENGINE_ENGINE_OPTIONS_H_

#include <cstddef>
#include <map>
#include <string>

#include "absl/time/time.h"

namespace tessera::server {

struct EngineOptions {
  // Prompts that begin like an earlier one find its keys and values computed.
  bool prefix_cache = true;
  bool isolate_tenants = false;  // nobody finds what another tenant has computed
  // Requests that wait for their first step, and the tokens of their prompts; more are refused.
  size_t max_queue = 1024;
  size_t max_queue_tokens = 1 << 22;
  // Shares of the tokens computed; 1 where none is given.
  std::map<std::string, double> tenant_weights;
  absl::Duration priority_aging = absl::Seconds(10);  // waiting that counts as one level
  // Of an answer that its reader has not taken; then its sequence is paused.
  size_t max_buffered_bytes = 256 * 1024;
  // How long a sequence stays paused before it is cancelled.
  absl::Duration slow_reader_timeout = absl::Seconds(60);
  // How long requests of a lost group wait for room on another replica, or for their own, before
  // they go where they have to wait as well.
  absl::Duration move_patience = absl::Seconds(10);
  // The hint to clients that are refused.
  absl::Duration retry_delay = absl::Seconds(1);
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_ENGINE_ENGINE_OPTIONS_H_
