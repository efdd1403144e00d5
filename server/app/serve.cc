#include "server/app/serve.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <spdlog/spdlog.h>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "proto/rpc/version.h"
#include "server/app/exit_code.h"
#include "server/app/load_model.h"
#include "server/app/port_holder.h"
#include "server/engine/engine.h"
#include "server/executor/group_executor.h"
#include "server/frontend/frontend_server.h"
#include "shard_loader/model/dtype.h"
#include "shard_loader/plan/memory.h"
#include "shard_loader/status_macros.h"

namespace tessera::server {
namespace {

namespace fs = std::filesystem;

// Calls that still write their last messages when all requests have ended.
constexpr absl::Duration kLastWrites = absl::Seconds(1);

absl::StatusOr<std::string> ReadSecret(const std::string& path) {
  if (path.empty()) return std::string();
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  std::string secret(absl::StripAsciiWhitespace(text.str()));
  if (!file || secret.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--secret-file ", path, " is empty or cannot be read"));
  }
  return secret;
}

// Where sockets of workers may lie: short paths, gone with the session.
std::string RuntimeDir() {
  std::error_code error;
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && fs::is_directory(runtime, error)) return runtime;
  return fs::temp_directory_path(error).string();
}

absl::Status CompleteGroupOptions(ServerOptions& options, const LoadedModel& model) {
  options.group.checkpoint = model.checkpoint.get();
  options.group.speculation.draft = model.draft.get();
  std::error_code error;
  fs::path self = fs::read_symlink("/proc/self/exe", error);
  options.group.worker_program = (self.parent_path() / "tessera-worker").string();
  options.group.runtime_dir = RuntimeDir();
  ASSIGN_OR_RETURN(options.group.secret, ReadSecret(options.secret_file));
  return absl::OkStatus();
}

std::string OffloadLine(const GroupOptions& group) {
  if (group.kv_offload_bytes == 0) return "";
  return absl::StrCat(
      "  offload  evicted KV blocks, up to ", shard_loader::FormatBytes(group.kv_offload_bytes),
      " of each rank, ",
      group.kv_offload_dir.empty()
          ? std::string("in memory (--kv-offload)\n")
          : absl::StrCat("in a file in ", group.kv_offload_dir, " (--kv-offload-path)\n"));
}

// What runs, on what, and why so: told when the group is ready.
std::string Banner(const ServerOptions& options, const LoadedModel& model, const GroupStatus& group,
                   const std::string& numerics_id) {
  const ServedModel& served = model.served;
  const std::string stored = shard_loader::DTypeName(model.checkpoint->dtype());
  const bool as_stored = options.group.dtype == "auto";
  std::string text = absl::StrFormat(
      "tessera-server %s\n"
      "  model    %s: %s, %.1f M parameters, context %d, from %s\n"
      "  dtype    %s\n",
      std::string(rpc::Version()), served.name, served.family, served.num_parameters / 1e6,
      served.max_model_len, options.model_dir,
      as_stored ? absl::StrCat(stored, " (as stored)")
                : absl::StrCat(options.group.dtype, " (--dtype; stored as ", stored, ")"));
  absl::StrAppend(&text, "  device   ",
                  options.group.device == "sim"
                      ? "simulated (--device sim): nothing is computed, ids are made up"
                      : group.device,
                  "\n");
  const std::string kernels = group.ranks.empty() ? "?" : group.ranks[0].kernels;
  absl::StrAppend(
      &text, "  kernels  ", kernels,
      options.group.kernels == "auto" ? " (the best set that every rank has)\n" : " (--kernels)\n");
  absl::StrAppend(&text, "  group    tp=", group.tp, " pp=", group.pp, ", ", group.ranks.size(),
                  options.group.workers.empty() ? " local ranks" : " remote ranks", ", comm ",
                  group.comm, options.group.comm == "auto" ? " (auto)" : " (--comm)",
                  options.dp > 1 ? absl::StrCat("; ", options.dp, " replicas of it (--dp)") : "",
                  "\n");
  const SpeculationOptions& speculation = options.group.speculation;
  if (speculation.num_tokens > 0) {
    absl::StrAppend(&text, "  guesses  up to ", speculation.num_tokens, " tokens, ",
                    speculation.draft == nullptr
                        ? std::string("from the text (--speculate ngram)\n")
                        : absl::StrCat("by ", options.draft_dir, " (--draft)\n"));
  }
  absl::StrAppend(&text, OffloadLine(options.group), "  numerics ", numerics_id);
  return text;
}

// Tells the operator, health and the end of the server what becomes of the group.
class ConditionTeller {
 public:
  struct Parts {
    const ServerOptions* options;
    const LoadedModel* model;
    HealthService* health;
    EndRequest* end;
    std::string address;
    Engine* engine = nullptr;
  };
  explicit ConditionTeller(Parts parts) : parts_(std::move(parts)) {}

  void set_engine(Engine* engine) { parts_.engine = engine; }
  void set_address(std::string address) { parts_.address = std::move(address); }

  // One thread at a time.
  void operator()(const EngineCondition& condition) {
    parts_.health->SetReady(condition.state == EngineState::kReady);
    if (condition.state == EngineState::kReady) {
      if (!told_) TellReady();
      told_ = true;
      if (condition.why.empty()) {
        spdlog::info("ready");
      } else {
        spdlog::warn("ready, but for {}", condition.why);
      }
    } else if (condition.state == EngineState::kRecovering) {
      spdlog::warn("not ready: {}", condition.why);
    } else if (condition.state == EngineState::kFailed) {
      // A server that was ready stays up and says why; one that never was is of no use.
      if (!condition.was_ready) return parts_.end->Set({true, condition.why, std::nullopt});
      spdlog::error("the model cannot be served any longer: {}", condition.why);
    }
  }

 private:
  void TellReady() {
    std::string banner =
        Banner(*parts_.options, *parts_.model, parts_.engine->replicas()[0]->group(),
               parts_.engine->numerics_id());
    if (parts_.options->log_format == "json") {
      spdlog::info("{}", banner);
    } else {
      std::printf("%s\n", banner.c_str());
    }
    std::printf("ready: %s on %s\n", parts_.model->served.name.c_str(), parts_.address.c_str());
    std::fflush(stdout);
  }

  Parts parts_;
  bool told_ = false;
};

absl::StatusOr<std::unique_ptr<FrontendServer>> Listen(const FrontendOptions& options,
                                                       InferenceService& inference,
                                                       AdminService& admin, HealthService& health) {
  auto server = FrontendServer::Create(options, inference, admin, health);
  if (server.ok()) return server;
  std::string holder = FindPortHolder(options.port);
  if (holder.empty()) return server;
  return absl::UnavailableError(absl::StrCat("port ", options.port, " is in use by ", holder,
                                             "; end it, or choose another with --grpc-port "
                                             "(0 takes a free one)"));
}

// Until the end of the drain; the exit code.
int WaitForEnd(const ServerOptions& options, EndRequest& end, Engine& engine) {
  EndRequest::Reason reason = end.Wait();
  if (reason.failed) {
    std::fprintf(stderr, "tessera-server: %s\n", reason.why.c_str());
    return kExitFailed;
  }
  absl::Duration timeout = reason.timeout.value_or(options.drain_timeout);
  spdlog::info("{}: draining {} requests, for {} at most", reason.why, engine.num_live(),
               absl::FormatDuration(timeout));
  engine.BeginDrain();
  if (!engine.FinishDrain(absl::Now() + timeout)) spdlog::warn("requests were cut off");
  return kExitDrained;
}

// Side by side: each waits a moment for its ranks.
void StopAll(const std::vector<std::unique_ptr<Executor>>& executors) {
  std::vector<std::thread> threads;
  for (const auto& executor : executors) threads.emplace_back([&executor] { executor->Stop(); });
  for (std::thread& thread : threads) thread.join();
}

absl::StatusOr<int> Run(ServerOptions& options) {
  ASSIGN_OR_RETURN(LoadedModel model, LoadModel(options));
  RETURN_IF_ERROR(CompleteGroupOptions(options, model));
  ASSIGN_OR_RETURN(auto executors, GroupExecutor::CreateAll(options.group, options.dp));

  std::vector<Counters> counters(executors.size());
  std::vector<ReplicaParts> replicas;
  for (size_t i = 0; i < executors.size(); ++i) {
    replicas.push_back({executors[i].get(), &counters[i]});
  }
  HealthService health;
  EndRequest end;
  ConditionTeller teller({.options = &options,
                          .model = &model,
                          .health = &health,
                          .end = &end,
                          .address = "",
                          .engine = nullptr});
  Engine engine(options.engine, *model.tokenizer, replicas, std::ref(teller));
  InferenceService inference(model.served, *model.tokenizer, model.chat_template.get(), engine);
  AdminService admin({.model = model.served.name,
                      .engine = &engine,
                      .drain = [&end](std::optional<absl::Duration> timeout) {
                        end.Set({.failed = false, .why = "Drain", .timeout = timeout});
                      }});
  ASSIGN_OR_RETURN(auto frontend, Listen(options.frontend, inference, admin, health));
  teller.set_engine(&engine);
  teller.set_address(frontend->address());
  EndSignals signals(end, [&engine] { engine.CutDrain(); });
  spdlog::info("listening on {}", frontend->address());
  engine.Start();

  int code = WaitForEnd(options, end, engine);
  frontend->Shutdown(absl::Now() + (signals.repeated() ? absl::ZeroDuration() : kLastWrites));
  StopAll(executors);
  spdlog::info("ended");
  return signals.repeated() ? 128 + signals.repeated() : code;
}

}  // namespace

int Serve(ServerOptions options) {
  absl::StatusOr<int> code = Run(options);
  if (code.ok()) return *code;
  std::fprintf(stderr, "tessera-server: %s\n", std::string(code.status().message()).c_str());
  return kExitFailed;
}

}  // namespace tessera::server
