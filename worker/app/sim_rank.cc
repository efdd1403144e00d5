#include "worker/app/sim_rank.h"

#include <unistd.h>

#include <algorithm>
#include <utility>
#include <vector>

#include <spdlog/spdlog.h>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "shard_loader/load/checkpoint.h"
#include "shard_loader/plan/packed_layout.h"
#include "shard_loader/plan/rank_plan.h"
#include "shard_loader/plan/workspace.h"
#include "shard_loader/status_macros.h"
#include "worker/app/step_codec.h"

namespace tessera::worker {
namespace {

namespace v1 = internal::v1;
using Clock = std::chrono::steady_clock;

// Of a process that its poison has ended.
constexpr int kPoisonedExit = 86;

uint64_t Milliseconds(absl::Duration duration) {
  return static_cast<uint64_t>(absl::ToInt64Milliseconds(duration));
}

class SimRank final : public Rank {
 public:
  explicit SimRank(SimDeployment* deployment) : deployment_(deployment) {}

  v1::Description Describe() override;
  absl::StatusOr<v1::Loaded> Load(const v1::Load& load,
                                  const LoadProgressFunction& progress) override;
  absl::Status Connect(const v1::Connect& connect, KeyValueStore* store) override;
  absl::StatusOr<std::vector<v1::StepResult>> Run(const v1::Step& step) override;
  bool Open() const override { return false; }
  absl::StatusOr<std::vector<v1::StepResult>> Settle() override {
    return std::vector<v1::StepResult>();
  }
  uint64_t Progress() const override;
  void Abort(absl::Status why) override;

 private:
  absl::Status WaitUntil(Clock::time_point time);

  SimDeployment* const deployment_;
  SimGroup* group_ = nullptr;
  int rank_ = 0;
  size_t stage_ = 0;
  bool draws_ = false;

  mutable Mutex mutex_;
  CondVar changed_;
  absl::Status aborted_ ABSL_GUARDED_BY(mutex_);
  std::optional<Busy> under_way_ ABSL_GUARDED_BY(mutex_);
  uint64_t progress_ ABSL_GUARDED_BY(mutex_) = 0;  // milliseconds of modelled work, and steps
};

v1::Description SimRank::Describe() {
  const SimOptions& options = deployment_->options();
  const LatencyModel& latency = options.latency;
  v1::Description description;
  description.set_host(absl::StrCat("sim", deployment_->NextHost()));
  description.set_pid(static_cast<uint32_t>(getpid()));
  description.set_device(absl::StrFormat("sim: %g us a step, %g us a token, KV at %g GB/s",
                                         latency.fixed_us, latency.token_us, latency.kv_gbps));
  description.set_memory_bytes(static_cast<uint64_t>(options.memory_gb * 1e9));
  v1::KernelSet* kernels = description.add_kernels();
  kernels->set_name("sim");
  kernels->set_numerics("sim");
  description.set_threads(1);
  return description;
}

absl::StatusOr<v1::Loaded> SimRank::Load(const v1::Load& load, const LoadProgressFunction&) {
  ASSIGN_OR_RETURN(group_, deployment_->Join(load));
  rank_ = static_cast<int>(load.rank());
  stage_ = load.rank() / load.tp();
  draws_ = load.rank() == (load.pp() - 1) * load.tp();
  return v1::Loaded();
}

absl::Status SimRank::Connect(const v1::Connect& connect, KeyValueStore*) {
  if (connect.comm() == "none") return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("simulated ranks have no communicator, got ", connect.comm()));
}

absl::StatusOr<std::vector<v1::StepResult>> SimRank::Run(const v1::Step& step) {
  if (group_ == nullptr) {
    return absl::FailedPreconditionError("the rank is told to work before it is told to load");
  }
  ASSIGN_OR_RETURN(auto shared, group_->Next(rank_, step.step(), deployment_->Now(),
                                             [&step] { return FromProto(step); }));
  const Busy busy = shared->stages[stage_];
  {
    MutexLock lock(mutex_);
    under_way_ = busy;
  }
  RETURN_IF_ERROR(WaitUntil(deployment_->TimeOf(busy.end)));
  v1::StepResult result;
  if (draws_) {
    deployment_->Trace(*shared);
    result = ToProto(shared->output);
  } else {
    result.set_step(step.step());
    result.set_ids_hash(shared->output.ids_hash);
  }
  result.set_busy_ns(static_cast<uint64_t>(absl::ToInt64Nanoseconds(busy.end - busy.begin)));
  return std::vector<v1::StepResult>{std::move(result)};
}

absl::Status SimRank::WaitUntil(Clock::time_point time) {
  MutexLock lock(mutex_);
  while (aborted_.ok() && Clock::now() < time) changed_.WaitUntil(mutex_, time);
  if (under_way_) progress_ += 1 + Milliseconds(under_way_->end - under_way_->begin);
  under_way_.reset();
  return aborted_;
}

uint64_t SimRank::Progress() const {
  MutexLock lock(mutex_);
  // A modelled step may be longer than the time after which a rank that does nothing counts as
  // hung: it grows with the time, as real layers would.
  const absl::Duration now = deployment_->Now();
  if (!under_way_ || now <= under_way_->begin) return progress_;
  return progress_ + Milliseconds(std::min(now, under_way_->end) - under_way_->begin);
}

void SimRank::Abort(absl::Status why) {
  MutexLock lock(mutex_);
  if (aborted_.ok()) aborted_ = absl::CancelledError(why.message());
  changed_.NotifyAll();
}

}  // namespace

SimDeployment::SimDeployment(SimOptions options) : options_(std::move(options)) {
  if (options_.trace.empty()) return;
  trace_.open(options_.trace, std::ios::trunc);
  if (!trace_) spdlog::error("--sim-trace {}: cannot be written", options_.trace);
}

std::unique_ptr<Rank> SimDeployment::MakeRank() { return std::make_unique<SimRank>(this); }

int SimDeployment::NextHost() {
  MutexLock lock(mutex_);
  return hosts_++;
}

absl::Duration SimDeployment::Now() const { return absl::FromChrono(Clock::now() - begin_); }

Clock::time_point SimDeployment::TimeOf(absl::Duration since_begin) const {
  return begin_ + absl::ToChronoNanoseconds(since_begin);
}

absl::StatusOr<SimGroup*> SimDeployment::Join(const v1::Load& load) {
  MutexLock lock(mutex_);
  if (load.tp() * load.pp() != static_cast<uint32_t>(options_.num_ranks) ||
      load.rank() >= load.tp() * load.pp()) {
    return absl::FailedPreconditionError(
        absl::StrCat("rank ", load.rank(), " of tp ", load.tp(), " x pp ", load.pp(),
                     " is loaded into a process that plays ", options_.num_ranks, " ranks"));
  }
  if (group_ == nullptr) {
    ASSIGN_OR_RETURN(group_, MakeGroup(load));
  }
  return group_.get();
}

absl::StatusOr<std::unique_ptr<SimGroup>> SimDeployment::MakeGroup(const v1::Load& load) const {
  ASSIGN_OR_RETURN(auto checkpoint,
                   shard_loader::Checkpoint::Open(load.model_dir(), {.with_weights = false}));
  const shard_loader::DecoderSpec& spec = checkpoint->spec();
  const shard_loader::Layout layout{.tp = static_cast<int>(load.tp()),
                                    .pp = static_cast<int>(load.pp()),
                                    .lanes = static_cast<int>(load.lanes())};
  ASSIGN_OR_RETURN(auto plans, shard_loader::MakeRankPlans(spec, layout));
  ASSIGN_OR_RETURN(const shard_loader::KvFormat kv_format, KvFormatOf(load));
  SimGroupOptions group;
  group.latency = options_.latency;
  group.stages = StageShares(spec, plans, kv_format);
  group.limits = {.vocab_size = static_cast<uint32_t>(spec.vocab_size),
                  .block_tokens = shard_loader::kKvBlockTokens,
                  .num_kv_blocks = static_cast<uint32_t>(load.num_kv_blocks()),
                  .max_model_len = static_cast<uint32_t>(load.max_model_len()),
                  .max_num_batched_tokens = load.max_num_batched_tokens(),
                  .max_num_seqs = load.max_num_seqs(),
                  .max_logprobs = load.max_logprobs()};
  group.num_ranks = options_.num_ranks;
  group.poison_token = options_.poison_token;
  group.on_poison = [token = options_.poison_token.value_or(0)](uint64_t sequence) {
    spdlog::error("sequence {} holds the poison token {}: the process ends", sequence, token);
    _exit(kPoisonedExit);
  };
  return std::make_unique<SimGroup>(std::move(group));
}

void SimDeployment::Trace(const SimStep& step) {
  MutexLock lock(mutex_);
  if (!trace_.is_open()) return;
  nlohmann::json stages = nlohmann::json::array();
  for (const Busy& busy : step.stages) {
    stages.push_back(
        {absl::ToDoubleMicroseconds(busy.begin), absl::ToDoubleMicroseconds(busy.end)});
  }
  trace_ << nlohmann::json{{"step", step.output.step},
                           {"tokens", step.load.tokens},
                           {"kv_tokens", step.load.kv_tokens},
                           {"sequences", step.output.results.size()},
                           {"stages_us", stages}}
         << "\n";
  trace_.flush();
}

}  // namespace tessera::worker
