#include "server/app/flags.h"

#include <cmath>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "proto/rpc/version.h"
#include "server/app/exit_code.h"
#include "server/app/offload_flags.h"
#include "shard_loader/load/formats.h"

namespace tessera::server {
namespace {

constexpr char kFooter[] =
    "A flag that is not on the command line is taken from the configuration file (lines `key = "
    "value`\n"
    "with the flags' names as keys), then from the variable TESSERA_NAME (--grpc-port: "
    "TESSERA_GRPC_PORT).\n\n"
    "Exit codes: 0 drained and ended; 1 the model cannot be served or the port not be listened "
    "on;\n"
    "2 wrong flags or configuration file; 128 + N ended at once by a repeated signal N.\n\n"
    "Example: tessera-server --model ./Llama-3.2-1B-Instruct --tp 2 --grpc-port 8001";

constexpr int kSpeculativeTokens = 4;

// Flags that do not fit their field as they are.
constexpr char kSimulation[] = "Simulation (--device sim)";

struct RawFlags {
  double step_timeout = 5;
  double drain_timeout = 30;
  double priority_aging = 10;
  bool no_prefix_cache = false;
  OffloadFlags offload;
  std::vector<std::string> tenant_weights;
};

void AddModelFlags(CLI::App& app, ServerOptions& options) {
  const std::string group = "Model";
  app.add_option("--model", options.model_dir, "Folder of a checkpoint, of any supported format")
      ->group(group);
  app.add_option("--model-name", options.model_name,
                 "Name that clients use; default: the folder's name")
      ->group(group);
  app.add_option("--format", options.format,
                 "Format to read the folder as; default: the first one that it holds")
      ->check(CLI::IsMember(shard_loader::FormatNames()))
      ->group(group);
  app.add_option(
         "--dtype", options.group.dtype,
         "Of the weights in memory; auto: as stored. int8 has a scale for 64 columns and int4 "
         "for 32, or as the name says")
      ->check(CLI::IsMember(
          {"auto", "f32", "bf16", "f16", "int8", "int8-g32", "int4", "int4-g64", "int4-g128"}))
      ->group(group);
  app.add_option("--kv-dtype", options.group.kv_dtype,
                 "Of the KV cache; auto: as --dtype, or as stored where that is of integers")
      ->check(CLI::IsMember({"auto", "f32", "bf16", "f16", "int8"}))
      ->group(group);
  app.add_option("--max-model-len", options.group.max_model_len,
                 "Tokens of prompt and answer together; 0: what the model was made for")
      ->group(group);
  app.add_option("--cache-dir", options.group.cache_dir,
                 "Folder of packed weights, which the next start reads; none: nothing is kept; "
                 "default: tessera in the user's cache folder")
      ->group(group);
  app.add_option("--chat-template", options.chat_template_file,
                 "Jinja file that replaces the checkpoint's chat template")
      ->check(CLI::ExistingFile)
      ->group(group);
}

void AddSimFlags(CLI::App& app, SimOptions& sim) {
  const std::string name = kSimulation;
  app.add_option("--sim-fixed-us", sim.fixed_us,
                 "Modelled microseconds of every step, of all stages together")
      ->check(CLI::NonNegativeNumber)
      ->group(name);
  app.add_option("--sim-token-us", sim.token_us,
                 "Modelled microseconds of each token of a step, shared by the tp ranks")
      ->check(CLI::NonNegativeNumber)
      ->group(name);
  app.add_option("--sim-kv-gbps", sim.kv_gbps,
                 "GB/s at which a modelled rank reads its part of the KV cache")
      ->check(CLI::PositiveNumber)
      ->group(name);
  app.add_option("--sim-memory-gb", sim.memory_gb, "Memory that each modelled rank claims to have")
      ->check(CLI::PositiveNumber)
      ->group(name);
  app.add_option("--sim-poison-token", sim.poison_token,
                 "Token id: a step that computes it ends the process of all ranks")
      ->group(name);
  app.add_option(
         "--sim-trace", sim.trace,
         "File for a JSON line about every step: when each stage was busy; with --dp a file for "
         "each replica, its number behind the name")
      ->group(name);
}

void AddGroupFlags(CLI::App& app, ServerOptions& options, RawFlags& raw) {
  const std::string name = "Workers";
  GroupOptions& group = options.group;
  app.add_option(
         "--device", group.device,
         "What computes; auto: CUDA where every rank has a device, else the CPUs; sim: ranks "
         "that compute nothing and answer after a modelled time, made-up ids, no weights: for "
         "load tests")
      ->check(CLI::IsMember({"auto", "cpu", "cuda", "sim"}))
      ->group(name);
  app.add_option("--tp", group.layout.tp, "Tensor-parallel degree: ranks that share every layer")
      ->check(CLI::Range(1, 1024))
      ->group(name);
  app.add_option("--pp", group.layout.pp, "Pipeline stages: groups of whole layers")
      ->check(CLI::Range(1, 1024))
      ->group(name);
  app.add_option(
         "--dp", options.dp,
         "Replicas: groups of tp x pp ranks, each with the whole model. A request goes to one "
         "by what it has cached, and by load")
      ->check(CLI::Range(1, 64))
      ->group(name);
  app.add_option("--lanes", group.layout.lanes,
                 "Lanes of every sum; part of the numerics id; at least --tp")
      ->check(CLI::IsMember({1, 2, 4, 8, 16, 32}))
      ->group(name);
  app.add_option("--ep", group.layout.ep,
                 "Expert-parallel degree: 1, or --tp, whose ranks then hold whole experts")
      ->check(CLI::Range(1, 1024))
      ->group(name);
  app.add_option("--comm", group.comm,
                 "Collectives; auto: nccl between devices, else shm on one host, else gloo")
      ->check(CLI::IsMember({"auto", "shm", "gloo", "mpi", "nccl"}))
      ->group(name);
  app.add_option(
         "--workers", group.workers,
         "Ranks elsewhere: HOST:PORT,... in rank order, replica by replica, or a dns:NAME:PORT for "
         "each replica; default: local ones")
      ->delimiter(',')
      ->group(name);
  app.add_option("--secret-file", options.secret_file,
                 "File with the secret shared with remote workers")
      ->check(CLI::ExistingFile)
      ->group(name);
  app.add_option("--collective-interface", group.collective_interface,
                 "Network interface of the collectives between hosts")
      ->group(name);
  app.add_option("--threads", group.threads, "Of all local ranks together; 0: one per CPU")
      ->check(CLI::Range(0, 4096))
      ->group(name);
  app.add_option("--cpus", group.cpus,
                 "CPUs that the threads of the local ranks stay on, shared out in order; default: "
                 "all, or with --threads the system's choice")
      ->delimiter(',')
      ->check(CLI::Range(0, 4095))
      ->group(name);
  app.add_option(
         "--kernels", group.kernels,
         "Kernel set; auto: the best one that every rank has; list: print those of this machine "
         "and end")
      ->group(name);
  app.add_option("--backend-dir", group.backend_dir,
                 "Folder of the plugins of local ranks; default: beside the programs")
      ->group(name);
  app.add_option("--step-timeout", raw.step_timeout,
                 "Seconds without progress after which a group counts as hung")
      ->check(CLI::Range(0.1, 3600.0))
      ->group(name);
}

void AddLimitFlags(CLI::App& app, ServerOptions& options, RawFlags& raw) {
  const std::string name = "Limits";
  app.add_option("--max-num-seqs", options.group.max_num_seqs, "Sequences that run at a time")
      ->check(CLI::Range(1, 4096))
      ->group(name);
  app.add_option(
         "--max-num-batched-tokens", options.group.max_num_batched_tokens,
         "Tokens of one step, at least --max-num-seqs; 0: 256 on CPUs, 2048 on CUDA devices and "
         "simulated ranks. Few make first tokens come early, many make long prompts cheap")
      ->check(CLI::Range(0, 1 << 20))
      ->group(name);
  app.add_option("--num-kv-blocks", options.group.num_kv_blocks,
                 "KV cache in blocks of 16 tokens; 0: what the memory holds")
      ->group(name);
  app.add_flag("--no-prefix-cache", raw.no_prefix_cache,
               "Compute every prompt in full, also where an earlier one began like it")
      ->group(name);
  AddOffloadFlags(app, name, raw.offload);
  app.add_option("--max-queue", options.engine.max_queue,
                 "Requests that wait for their first step; more are refused")
      ->check(CLI::Range(1, 1 << 20))
      ->group(name);
  app.add_option("--max-queue-tokens", options.engine.max_queue_tokens,
                 "Tokens of prompts that wait for their first step; more are refused")
      ->check(CLI::Range(1, 1 << 30))
      ->group(name);
  app.add_option("--tenant-weights", raw.tenant_weights,
                 "NAME=WEIGHT,...: shares of the tokens computed; 1 for those not named")
      ->delimiter(',')
      ->group(name);
  app.add_option("--priority-aging", raw.priority_aging,
                 "Seconds of waiting that count as one level of priority")
      ->check(CLI::Range(0.1, 86400.0))
      ->group(name);
  app.add_flag("--isolate-tenants", options.engine.isolate_tenants,
               "Share no cached prefixes between tenants: none can time what another has sent")
      ->group(name);
  app.add_option("--max-logprobs", options.group.max_logprobs,
                 "The most logprobs per token that a request may ask for")
      ->group(name);
  app.add_option("--drain-timeout", raw.drain_timeout,
                 "Seconds that running requests get when the server is told to end")
      ->check(CLI::Range(0.0, 86400.0))
      ->group(name);
}

void AddSpeculationFlags(CLI::App& app, ServerOptions& options) {
  const std::string name = "Speculation";
  SpeculationOptions& speculation = options.group.speculation;
  app.add_option(
         "--speculate", options.speculate,
         "Guess tokens, which changes no answer: ngram (from the text), draft (by --draft); "
         "auto: draft where --draft is given")
      ->check(CLI::IsMember({"auto", "off", "ngram", "draft"}))
      ->group(name);
  app.add_option("--draft", options.draft_dir,
                 "Folder of a smaller checkpoint with the same tokenizer")
      ->group(name);
  app.add_option("--num-speculative-tokens", speculation.num_tokens,
                 "The most tokens that are guessed at a time")
      ->default_val(kSpeculativeTokens)
      ->check(CLI::Range(1, 32))
      ->group(name);
  app.add_option("--ngram-prompt-lookup-min", speculation.ngram_min,
                 "The fewest last tokens that must have come before")
      ->check(CLI::Range(1, 64))
      ->group(name);
  app.add_option("--ngram-prompt-lookup-max", speculation.ngram_max,
                 "The most last tokens that are looked for")
      ->check(CLI::Range(1, 64))
      ->group(name);
}

void AddServiceFlags(CLI::App& app, ServerOptions& options) {
  const std::string name = "Service";
  app.add_option("--host", options.frontend.host, "Address to listen on")->group(name);
  app.add_option("--grpc-port", options.frontend.port, "Port of gRPC; 0: a free one")
      ->check(CLI::Range(0, 65535))
      ->group(name);
  app.add_option("--log-level", options.log_level, "The least that is logged")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}))
      ->group(name);
  app.add_option("--log-format", options.log_format, "Of the log on standard error")
      ->check(CLI::IsMember({"text", "json"}))
      ->group(name);
  app.set_config("--config", "", "Configuration file (TOML or INI)")
      ->envname("TESSERA_CONFIG")
      ->group(name);
  app.allow_config_extras(CLI::config_extras_mode::error);
}

// TESSERA_GRPC_PORT for --grpc-port.
void NameVariables(CLI::App& app) {
  for (CLI::Option* option : app.get_options()) {
    if (option->get_name() == "--help" || option->get_name() == "--version") continue;
    std::string name = absl::AsciiStrToUpper(option->get_name().substr(2));
    option->envname(absl::StrCat("TESSERA_", absl::StrReplaceAll(name, {{"-", "_"}})));
  }
}

std::string CheckTogether(const ServerOptions& options) {
  const GroupOptions& group = options.group;
  if (options.model_dir.empty()) {
    return "--model DIR is missing: the folder of a checkpoint; `tessera serve` without it serves "
           "the bundled model";
  }
  if (group.max_num_batched_tokens > 0 && group.max_num_batched_tokens < group.max_num_seqs) {
    return absl::StrCat("--max-num-batched-tokens ", group.max_num_batched_tokens,
                        " is less than --max-num-seqs ", group.max_num_seqs,
                        ": every running sequence needs a token of each step");
  }
  return "";
}

// What is wrong with the flags, or empty.
std::string ResolveSpeculation(ServerOptions& options) {
  SpeculationOptions& speculation = options.group.speculation;
  const bool has_draft = !options.draft_dir.empty();
  if (options.speculate == "auto") options.speculate = has_draft ? "draft" : "off";
  if (options.speculate == "off") speculation.num_tokens = 0;
  if (options.speculate == "draft" && !has_draft) {
    return "--speculate draft needs --draft DIR: the folder of a smaller checkpoint";
  }
  if (options.speculate == "ngram" && has_draft) {
    return "--speculate ngram and --draft exclude each other";
  }
  if (speculation.ngram_min > speculation.ngram_max) {
    return absl::StrCat("--ngram-prompt-lookup-min ", speculation.ngram_min,
                        " is more than --ngram-prompt-lookup-max ", speculation.ngram_max);
  }
  return "";
}

// NAME=WEIGHT each. Returns what is wrong, or nothing.
std::string ParseWeights(const std::vector<std::string>& texts,
                         std::map<std::string, double>& weights) {
  for (const std::string& text : texts) {
    const size_t equals = text.rfind('=');
    double weight = 0;
    if (equals == std::string::npos || !absl::SimpleAtod(text.substr(equals + 1), &weight) ||
        !(weight > 0) || !std::isfinite(weight)) {
      return absl::StrCat("--tenant-weights: '", text,
                          "' is not NAME=WEIGHT with a weight above 0, like batch=0.5");
    }
    weights[text.substr(0, equals)] = weight;
  }
  return "";
}

FlagsExit Usage(const std::string& problem) {
  return {kExitUsage, absl::StrCat("tessera-server: ", problem,
                                   "\nRun tessera-server --help for the flags.\n")};
}

}  // namespace

std::variant<ServerOptions, FlagsExit, ListKernels> ParseFlags(int argc, const char* const* argv) {
  ServerOptions options;
  RawFlags raw;
  CLI::App app("Serves a sharded language model over gRPC.", "tessera-server");
  app.option_defaults()->always_capture_default();
  app.set_version_flag("--version", absl::StrCat("tessera-server ", std::string(rpc::Version())));
  app.get_formatter()->column_width(34);
  app.footer(kFooter);
  AddModelFlags(app, options);
  AddGroupFlags(app, options, raw);
  AddLimitFlags(app, options, raw);
  AddSpeculationFlags(app, options);
  AddServiceFlags(app, options);
  AddSimFlags(app, options.group.sim);
  NameVariables(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != 0) return Usage(error.what());
    std::ostringstream out, problems;
    app.exit(error, out, problems);
    return FlagsExit{kExitDrained, out.str()};
  }
  if (options.group.kernels == "list") return ListKernels{};
  options.group.step_timeout = absl::Seconds(raw.step_timeout);
  options.drain_timeout = absl::Seconds(raw.drain_timeout);
  options.engine.prefix_cache = !raw.no_prefix_cache;
  options.engine.priority_aging = absl::Seconds(raw.priority_aging);
  std::string problem = ParseWeights(raw.tenant_weights, options.engine.tenant_weights);
  if (problem.empty()) problem = CheckTogether(options);
  if (problem.empty()) problem = ResolveSpeculation(options);
  if (problem.empty()) problem = ResolveOffload(raw.offload, options);
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group() == kSimulation && option->count() > 0 && options.group.device != "sim")
      problem = absl::StrCat(option->get_name(), " is for --device sim");
  }
  if (!problem.empty()) return Usage(problem);
  return options;
}

}  // namespace tessera::server
