// What a group is made of.
#ifndef TESSERA_SERVER_EXECUTOR_GROUP_OPTIONS_H_
#define TESSERA_SERVER_EXECUTOR_GROUP_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "shard_loader/plan/rank_plan.h"

namespace tessera::shard_loader {
class Checkpoint;
}

namespace tessera::server {

// Guesses of the next tokens, compared with what is drawn: fewer steps, the same answers.
struct SpeculationOptions {
  uint32_t num_tokens = 0;  // at a time, at most; 0: none
  // Of prompt lookup: the ids of the run that is looked for.
  uint32_t ngram_min = 2;
  uint32_t ngram_max = 4;
  // A smaller model that guesses instead, as this process has opened it; borrowed. Null: none.
  const shard_loader::Checkpoint* draft = nullptr;
};

// Of simulated ranks; tessera-worker's flags of the same names say what each means.
struct SimOptions {
  double fixed_us = 2000;
  double token_us = 20;
  double kv_gbps = 1000;
  double memory_gb = 80;
  std::optional<uint32_t> poison_token;
  std::string trace;  // empty: none
};

struct GroupOptions {
  // The checkpoint, as this process has opened it; borrowed, outlives the executor. Every rank
  // opens its folder by itself, under the same path.
  const shard_loader::Checkpoint* checkpoint = nullptr;
  shard_loader::Layout layout;
  // Which of the groups of this server it is, and of how many: local ones share the host's CPUs,
  // memory and devices.
  int replica = 0;
  int num_replicas = 1;
  std::string device = "auto";  // auto: cuda where every rank can, else cpu; cpu; cuda; sim: all
                                // ranks in one process that computes nothing, as `sim` says
  SimOptions sim;
  std::string dtype = "auto";     // of the weights in memory: auto (as stored), f32, bf16, f16,
                                  // int8, int4, or a name of shard_loader/plan/weight_format.h
  std::string kv_dtype = "auto";  // auto (as dtype), f32, bf16, f16, int8
  std::string kernels = "auto";   // auto: the best set that every rank has
  std::string comm = "auto";  // auto (shm for local ranks, gloo for remote ones), shm, gloo, mpi

  // Ranks as children of this process:
  std::string worker_program;  // path of tessera-worker
  std::string runtime_dir;     // a private folder is made in it, for sockets; must exist
  std::string backend_dir;     // of plugins; empty: where the worker looks by itself
  std::string cache_dir;       // of packed weights; none: no cache; empty: the worker's default
  int threads = 0;             // of the local ranks of all groups together; 0: one per CPU
  // That they stay on, shared out among the ranks in order. Empty: all, or with `threads` none.
  std::vector<int> cpus;
  // Ranks elsewhere, in rank order: "host:port" or "unix:/path" each, or one "dns:NAME:PORT" whose
  // addresses are taken in ascending order. Empty: local ones. Of this group alone.
  std::vector<std::string> workers;
  std::string secret;                // shared with remote workers
  std::string collective_interface;  // of gloo; empty: the one of the host's name, or loopback for
                                     // local ranks

  uint32_t max_model_len = 0;  // tokens of a sequence; 0: what the model was made for
  uint32_t max_num_seqs = 64;
  // Of a step; 0: 256 on CPUs, where more make a step long and the other first tokens late, else
  // 2048. At least max_num_seqs.
  uint32_t max_num_batched_tokens = 0;
  uint32_t num_kv_blocks = 0;  // 0: what the ranks' memory holds
  // For evicted KV blocks, of each rank: of its host's memory or, where a folder is given, of a
  // file there. 0: they are lost.
  int64_t kv_offload_bytes = 0;
  std::string kv_offload_dir;
  uint32_t max_logprobs = 20;
  SpeculationOptions speculation;

  absl::Duration step_timeout = absl::Seconds(5);  // without a layer done, a group counts as hung
  // For a rank to be there and prove its secret; for its next progress while it loads.
  absl::Duration connect_timeout = absl::Seconds(30);
  absl::Duration load_timeout = absl::Seconds(120);
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_EXECUTOR_GROUP_OPTIONS_H_
