#include "server/app/flags.h"

#include <sstream>
#include <string>
#include <utility>

#include <CLI/CLI.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "proto/rpc/version.h"
#include "server/app/exit_code.h"
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

// Flags that do not fit their field as they are.
constexpr char kSimulation[] = "Simulation (--device sim)";

struct RawFlags {
  double step_timeout = 5;
  double drain_timeout = 30;
  bool no_prefix_cache = false;
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
  app.add_option("--dtype", options.group.dtype, "Of the weights in memory; auto: as stored")
      ->check(CLI::IsMember({"auto", "f32", "bf16", "f16"}))
      ->group(group);
  app.add_option("--kv-dtype", options.group.kv_dtype, "Of the KV cache; auto: as --dtype")
      ->check(CLI::IsMember({"auto", "f32", "bf16", "f16"}))
      ->group(group);
  app.add_option("--max-model-len", options.group.max_model_len,
                 "Tokens of prompt and answer together; 0: what the model was made for")
      ->group(group);
  app.add_option("--cache-dir", options.group.cache_dir,
                 "Folder of packed weights, which the next start maps; none: nothing is kept; "
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
  app.add_option("--sim-trace", sim.trace,
                 "File for a JSON line about every step: when each stage was busy")
      ->group(name);
}

void AddGroupFlags(CLI::App& app, ServerOptions& options, RawFlags& raw) {
  const std::string name = "Workers";
  GroupOptions& group = options.group;
  app.add_option("--device", group.device,
                 "auto and cpu: this host's CPUs; sim: ranks that compute nothing and answer after "
                 "a modelled time, made-up ids, no weights: for load tests")
      ->check(CLI::IsMember({"auto", "cpu", "sim"}))
      ->group(name);
  app.add_option("--tp", group.layout.tp, "Tensor-parallel degree: ranks that share every layer")
      ->check(CLI::Range(1, 1024))
      ->group(name);
  app.add_option("--pp", group.layout.pp, "Pipeline stages: groups of whole layers")
      ->check(CLI::Range(1, 1024))
      ->group(name);
  app.add_option("--lanes", group.layout.lanes,
                 "Lanes of every sum; part of the numerics id; at least --tp")
      ->check(CLI::IsMember({1, 2, 4, 8, 16, 32}))
      ->group(name);
  app.add_option("--comm", group.comm, "Collectives; auto: shm on one host, else gloo")
      ->check(CLI::IsMember({"auto", "shm", "gloo", "mpi"}))
      ->group(name);
  app.add_option(
         "--workers", group.workers,
         "Ranks elsewhere: HOST:PORT,... in rank order, or dns:NAME:PORT; default: local ones")
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
  app.add_option("--kernels", group.kernels, "Kernel set; auto: the best one that every rank has")
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
  app.add_option("--max-num-batched-tokens", options.group.max_num_batched_tokens,
                 "Tokens of one step; at least --max-num-seqs")
      ->check(CLI::Range(1, 1 << 20))
      ->group(name);
  app.add_option("--num-kv-blocks", options.group.num_kv_blocks,
                 "KV cache in blocks of 16 tokens; 0: what the memory holds")
      ->group(name);
  app.add_flag("--no-prefix-cache", raw.no_prefix_cache,
               "Compute every prompt in full, also where an earlier one began like it")
      ->group(name);
  app.add_option("--max-queue", options.engine.max_queue,
                 "Requests that wait for their first step; more are refused")
      ->check(CLI::Range(1, 1 << 20))
      ->group(name);
  app.add_option("--max-logprobs", options.group.max_logprobs,
                 "The most logprobs per token that a request may ask for")
      ->group(name);
  app.add_option("--drain-timeout", raw.drain_timeout,
                 "Seconds that running requests get when the server is told to end")
      ->check(CLI::Range(0.0, 86400.0))
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
  if (group.max_num_batched_tokens < group.max_num_seqs) {
    return absl::StrCat("--max-num-batched-tokens ", group.max_num_batched_tokens,
                        " is less than --max-num-seqs ", group.max_num_seqs,
                        ": every running sequence needs a token of each step");
  }
  return "";
}

FlagsExit Usage(const std::string& problem) {
  return {kExitUsage, absl::StrCat("tessera-server: ", problem,
                                   "\nRun tessera-server --help for the flags.\n")};
}

}  // namespace

std::variant<ServerOptions, FlagsExit> ParseFlags(int argc, const char* const* argv) {
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
  options.group.step_timeout = absl::Seconds(raw.step_timeout);
  options.drain_timeout = absl::Seconds(raw.drain_timeout);
  options.engine.prefix_cache = !raw.no_prefix_cache;
  std::string problem = CheckTogether(options);
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group() == kSimulation && option->count() > 0 && options.group.device != "sim")
      problem = absl::StrCat(option->get_name(), " is for --device sim");
  }
  if (!problem.empty()) return Usage(problem);
  return options;
}

}  // namespace tessera::server
