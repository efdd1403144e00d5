#include "worker/app/runner_rank.h"

#include <limits.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <utility>
#include <vector>

#include <spdlog/spdlog.h>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/io/host_memory.h"
#include "shard_loader/load/checkpoint.h"
#include "shard_loader/mutex.h"
#include "shard_loader/plan/rank_plan.h"
#include "shard_loader/status_macros.h"
#include "worker/app/step_codec.h"
#include "worker/backend/cuda_library.h"
#include "worker/backend/kernel_sets.h"
#include "worker/comm/device_comms.h"
#include "worker/comm/factory.h"
#include "worker/comm/interrupter.h"
#include "worker/comm/nccl_library.h"
#include "worker/comm/pair_test.h"
#include "worker/runner/error_site.h"
#include "worker/runner/runner.h"
#include "worker/tensor/cpus.h"

namespace tessera::worker {
namespace {

namespace v1 = internal::v1;
using shard_loader::DType;

std::string HostName() {
  std::array<char, HOST_NAME_MAX + 1> name = {};
  gethostname(name.data(), name.size() - 1);
  return name.data();
}

std::string CpuName() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("model name")) continue;
    size_t value = line.find(": ");
    if (value != std::string::npos) return line.substr(value + 2);
  }
  return "unknown";
}

bool Holds(const v1::Step& step, const std::vector<v1::StepResult>& results, uint32_t token) {
  for (const v1::SequenceStart& start : step.starts()) {
    for (uint32_t id : start.token_ids()) {
      if (id == token) return true;
    }
  }
  for (const v1::StepResult& result : results) {
    for (const v1::SequenceResult& each : result.results()) {
      for (const v1::Token& drawn : each.tokens()) {
        if (drawn.id() == token) return true;
      }
    }
  }
  return false;
}

// A checkpoint that must be the server's.
absl::StatusOr<std::unique_ptr<shard_loader::Checkpoint>> OpenSame(
    const std::string& folder, const std::string& version,
    const shard_loader::CheckpointOptions& options) {
  ASSIGN_OR_RETURN(auto checkpoint, shard_loader::Checkpoint::Open(folder, options));
  if (checkpoint->weights_version() == version) return checkpoint;
  return absl::FailedPreconditionError(absl::StrCat(
      "the checkpoint ", folder, " on ", HostName(), " has version ", checkpoint->weights_version(),
      ", the server's has ", version, "; give every host the same files"));
}

class RunnerRank final : public Rank {
 public:
  explicit RunnerRank(RunnerRankOptions options) : options_(std::move(options)) {}

  v1::Description Describe() override { return DescribeWorker(options_); }
  absl::StatusOr<v1::Loaded> Load(const v1::Load& load,
                                  const LoadProgressFunction& progress) override;
  absl::Status Connect(const v1::Connect& connect, KeyValueStore* store) override;
  absl::StatusOr<std::vector<v1::StepResult>> Run(const v1::Step& step) override;
  bool Open() const override;
  absl::StatusOr<std::vector<v1::StepResult>> Settle() override;
  uint64_t Progress() const override;
  void Abort(absl::Status why) override;

 private:
  absl::StatusOr<RunnerOptions> MakeOptions(const v1::Load& load) const;
  // The error of a rank that is aborted or has not come so far.
  absl::StatusOr<Runner*> Ready() const;

  const RunnerRankOptions options_;
  std::unique_ptr<shard_loader::Checkpoint> checkpoint_;
  int tp_ = 1;
  int pp_ = 1;
  int rank_ = 0;
  Interrupter joining_;  // while communicators are made, which the runner has not yet

  // Progress and Abort may come while the runner is made.
  mutable Mutex mutex_;
  std::unique_ptr<Runner> runner_ ABSL_GUARDED_BY(mutex_);
  absl::Status aborted_ ABSL_GUARDED_BY(mutex_);
};

absl::StatusOr<RunnerOptions> RunnerRank::MakeOptions(const v1::Load& load) const {
  RunnerOptions options;
  options.spec = checkpoint_->spec();
  shard_loader::Layout layout{.tp = static_cast<int>(load.tp()),
                              .pp = static_cast<int>(load.pp()),
                              .lanes = static_cast<int>(load.lanes()),
                              .ep = load.ep() > 0 ? static_cast<int>(load.ep()) : 1};
  ASSIGN_OR_RETURN(auto plans, shard_loader::MakeRankPlans(options.spec, layout));
  if (load.rank() >= plans.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("rank ", load.rank(), " of a group of ", plans.size()));
  }
  options.plan = std::move(plans[load.rank()]);
  const auto format = shard_loader::ParseWeightFormat(load.dtype());
  if (!format) {
    return absl::UnimplementedError(
        absl::StrCat("dtype ", load.dtype(), " is not known to this worker"));
  }
  options.dtype = *format;
  ASSIGN_OR_RETURN(options.kv_dtype, KvFormatOf(load));
  options.kernels = load.kernels();
  if (IsCudaKernelSet(options.kernels)) {
    ASSIGN_OR_RETURN(const CudaFacts cuda, FindCuda(options_.backend_dir));
    const int device = cuda.devices[load.place() % cuda.devices.size()].index;
    options.make_backend = [kernels = options.kernels, folder = options_.backend_dir, device] {
      return MakeCudaBackend(folder, kernels, device);
    };
  }
  options.num_kv_blocks = static_cast<uint32_t>(load.num_kv_blocks());
  options.num_kv_slots = load.num_kv_slots();
  options.kv_offload_dir = load.kv_offload_dir();
  options.max_model_len = static_cast<uint32_t>(load.max_model_len());
  options.max_num_batched_tokens = load.max_num_batched_tokens();
  options.max_num_seqs = load.max_num_seqs();
  options.max_logprobs = load.max_logprobs();
  if (load.speculation().num_tokens() > 0) {
    options.speculation.num_tokens = load.speculation().num_tokens();
    options.speculation.ngram_min = load.speculation().ngram_min();
    options.speculation.ngram_max = load.speculation().ngram_max();
  }
  options.cpus = options_.cpus;
  options.threads = load.threads() > 0 ? static_cast<int>(load.threads()) : options_.threads;
  options.images = options_.images;
  options.test_reorder_from = options_.test_reorder_from;
  if (!options_.trace_dir.empty()) {
    options.trace_file = absl::StrCat(options_.trace_dir, "/rank-", load.rank());
  }
  return options;
}

absl::StatusOr<v1::Loaded> RunnerRank::Load(const v1::Load& load,
                                            const LoadProgressFunction& progress) {
  ASSIGN_OR_RETURN(checkpoint_,
                   OpenSame(load.model_dir(), load.weights_version(), {.format = load.format()}));
  tp_ = static_cast<int>(load.tp());
  pp_ = static_cast<int>(load.pp());
  rank_ = static_cast<int>(load.rank());
  ASSIGN_OR_RETURN(RunnerOptions options, MakeOptions(load));
  std::unique_ptr<shard_loader::Checkpoint> draft;
  if (!load.speculation().draft_dir().empty() && rank_ == (pp_ - 1) * tp_) {
    ASSIGN_OR_RETURN(
        draft, OpenSame(load.speculation().draft_dir(), load.speculation().draft_version(), {}));
    options.speculation.draft = draft.get();
  }
  ASSIGN_OR_RETURN(std::unique_ptr<Runner> runner, Runner::Create(options, *checkpoint_, progress));
  const RunnerMemory& memory = runner->memory();
  v1::Loaded loaded;
  loaded.set_bytes_read(memory.bytes_read);
  loaded.set_weight_bytes(memory.weight_bytes);
  loaded.set_workspace_bytes(memory.workspace_bytes);
  loaded.set_kv_bytes(memory.kv_bytes);
  loaded.set_kv_fetch_ns(static_cast<uint64_t>(absl::ToInt64Nanoseconds(memory.kv_fetch_time)));
  MutexLock lock(mutex_);
  if (!aborted_.ok()) return aborted_;
  runner_ = std::move(runner);
  return loaded;
}

absl::StatusOr<Runner*> RunnerRank::Ready() const {
  MutexLock lock(mutex_);
  if (!aborted_.ok()) return aborted_;
  if (runner_ != nullptr) return runner_.get();
  return absl::FailedPreconditionError("the rank is told to work before it is told to load");
}

// More ranks than this are not tested pair by pair when they start: it would take seconds.
constexpr int kMostTestedRanks = 16;

// Every pair of devices exchanges data once, so that a dead link is named now and a slow one is
// known. Collective.
absl::Status TestDevicePairs(const DeviceComms& device, Memory& memory) {
  if (device.comms.group->size() > kMostTestedRanks) return absl::OkStatus();
  const PairTestOptions options{.round_trips = 10};
  ASSIGN_OR_RETURN(const std::vector<PairTiming> timings,
                   TestPairs(*device.comms.group, options, memory));
  if (device.comms.group->rank() != 0) return absl::OkStatus();
  for (const PairTiming& pair : timings) {
    spdlog::info("nccl: ranks {} and {}: {:.1f} us, {:.0f} MB/s", pair.a, pair.b, pair.latency_us,
                 pair.bandwidth_mb_s);
  }
  for (const std::string& slow : SlowPairs(timings, options.slow_factor)) {
    spdlog::warn("nccl: a slow link: {}", slow);
  }
  return absl::OkStatus();
}

absl::Status RunnerRank::Connect(const v1::Connect& connect, KeyValueStore* store) {
  ASSIGN_OR_RETURN(Runner * runner, Ready());
  // What the device does not hold, the ids that were drawn, goes between the hosts.
  const bool nccl = connect.comm() == "nccl";
  const std::string host_kind = options_.comm_fd >= 0 ? "shm" : "gloo";
  CommOptions options{.kind = nccl ? host_kind : connect.comm(),
                      .rank = rank_,
                      .tp = tp_,
                      .pp = pp_,
                      .timeout = absl::Milliseconds(connect.timeout_ms()),
                      .shm_fd = options_.comm_fd,
                      .interface = connect.interface(),
                      .store = store,
                      .interrupter = &joining_,
                      .plugin_dir = options_.backend_dir};
  ASSIGN_OR_RETURN(GroupComms comms, ConnectGroup(options));
  DeviceComms device;
  if (nccl) {
    ASSIGN_OR_RETURN(device, ConnectDevices(runner->backend_memory(), options.plugin_dir,
                                            {.store = options.store,
                                             .rank = options.rank,
                                             .tp = options.tp,
                                             .pp = options.pp,
                                             .timeout = options.timeout,
                                             .interrupter = options.interrupter}));
    RETURN_IF_ERROR(TestDevicePairs(device, runner->backend_memory()));
  }
  return runner->Connect(std::move(comms), std::move(device));
}

std::vector<v1::StepResult> ToProto(const std::vector<StepOutput>& outputs) {
  std::vector<v1::StepResult> results;
  for (const StepOutput& output : outputs) results.push_back(ToProto(output));
  return results;
}

absl::StatusOr<std::vector<v1::StepResult>> RunnerRank::Run(const v1::Step& step) {
  ASSIGN_OR_RETURN(Runner * runner, Ready());
  ASSIGN_OR_RETURN(std::vector<StepOutput> outputs, runner->RunAhead(FromProto(step)));
  std::vector<v1::StepResult> results = ToProto(outputs);
  if (options_.test_exit_on_token && Holds(step, results, *options_.test_exit_on_token)) {
    spdlog::error("test: a step holds token {}", *options_.test_exit_on_token);
    _exit(86);
  }
  if (options_.test_fail_on_token && Holds(step, results, *options_.test_fail_on_token)) {
    return At(absl::InternalError(
        absl::StrCat("test: a step holds token ", *options_.test_fail_on_token)));
  }
  return results;
}

bool RunnerRank::Open() const {
  absl::StatusOr<Runner*> runner = Ready();
  return runner.ok() && (*runner)->num_open() > 0;
}

absl::StatusOr<std::vector<v1::StepResult>> RunnerRank::Settle() {
  ASSIGN_OR_RETURN(Runner * runner, Ready());
  ASSIGN_OR_RETURN(std::vector<StepOutput> outputs, runner->Settle());
  return ToProto(outputs);
}

uint64_t RunnerRank::Progress() const {
  MutexLock lock(mutex_);
  return runner_ == nullptr ? 0 : runner_->progress();
}

void RunnerRank::Abort(absl::Status why) {
  joining_.Interrupt(why);
  MutexLock lock(mutex_);
  if (runner_ != nullptr) runner_->Abort(why);
  if (aborted_.ok()) aborted_ = std::move(why);
}

}  // namespace

std::unique_ptr<Rank> MakeRunnerRank(const RunnerRankOptions& options) {
  return std::make_unique<RunnerRank>(options);
}

namespace {

// Left to what no plan knows: the driver, the contexts of the ranks, recorded steps and NCCL.
constexpr int64_t kCudaReserve = int64_t{1} << 30;

void DescribeCuda(const RunnerRankOptions& options, v1::Description* description) {
  absl::StatusOr<CudaFacts> cuda = FindCuda(options.backend_dir);
  if (!cuda.ok()) {
    description->set_cuda_problem(std::string(cuda.status().message()));
    return;
  }
  int64_t least = cuda->devices[0].free_bytes;
  for (const CudaDevice& device : cuda->devices) least = std::min(least, device.free_bytes);
  description->set_cuda_devices(static_cast<uint32_t>(cuda->devices.size()));
  description->set_cuda_memory_bytes(
      static_cast<uint64_t>(std::max<int64_t>(0, least - kCudaReserve)));
  description->set_device(absl::StrCat("cuda: ", cuda->devices.size(), " x ", cuda->devices[0].name,
                                       ", driver for CUDA ", cuda->driver));
  if (OpenNccl(options.backend_dir, nullptr).ok()) description->add_comms("nccl");
  for (const char* name : {"cuda", "cuda-exact"}) {
    if (options.kernels != "auto" && options.kernels != name) continue;
    v1::KernelSet* set = description->add_kernels();
    set->set_name(name);
    set->set_numerics(absl::StrCat(name, "-", kCudaNumericsVersion));
  }
}

}  // namespace

v1::Description DescribeWorker(const RunnerRankOptions& options) {
  v1::Description description;
  int all = options.cpus.empty() ? AvailableCpus() : static_cast<int>(options.cpus.size());
  int threads = options.threads > 0 ? options.threads : all;
  description.set_host(HostName());
  description.set_pid(static_cast<uint32_t>(getpid()));
  description.set_device(absl::StrCat("cpu: ", CpuName(), ", ", threads, " threads"));
  absl::StatusOr<shard_loader::HostMemory> memory = shard_loader::ReadHostMemory();
  if (memory.ok()) description.set_memory_bytes(static_cast<uint64_t>(memory->usable()));
  if (options.device != "cpu") DescribeCuda(options, &description);
  for (const std::string& name : AvailableKernelSets()) {
    if (options.device == "cuda") break;
    if (options.kernels != "auto" && options.kernels != name) continue;
    absl::StatusOr<std::string> numerics = KernelNumerics(name);
    if (!numerics.ok()) continue;
    v1::KernelSet* set = description.add_kernels();
    set->set_name(name);
    set->set_numerics(*numerics);
  }
  for (const std::string& comm : AvailableComms(options.backend_dir)) description.add_comms(comm);
  description.set_threads(static_cast<uint32_t>(threads));
  return description;
}

}  // namespace tessera::worker
