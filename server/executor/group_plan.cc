#include "server/executor/group_plan.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "server/executor/launch.h"
#include "shard_loader/load/block_format.h"
#include "shard_loader/load/checkpoint.h"
#include "shard_loader/plan/kv_format.h"
#include "shard_loader/plan/memory.h"
#include "shard_loader/plan/numerics_id.h"
#include "shard_loader/plan/rank_plan.h"
#include "shard_loader/plan/weight_format.h"
#include "shard_loader/status_macros.h"

namespace tessera::server {
namespace {

namespace v1 = internal::v1;
using shard_loader::DType;
using shard_loader::KvFormat;
using shard_loader::WeightFormat;

// Tokens that a beam is told of, at most: twice the widest search and all stop ids of a request.
constexpr uint32_t kBeamCandidates = 2048;
// Tokens of a step: so many that products run at full speed, and no more, since whatever a step
// holds waits for all of it.
constexpr uint32_t kCpuBudget = 256;
constexpr uint32_t kDeviceBudget = 2048;

absl::StatusOr<WeightFormat> ResolveFormat(const std::string& name,
                                           const shard_loader::Checkpoint& checkpoint) {
  if (name == "auto") return checkpoint.dtype();
  if (const auto format = shard_loader::FormatFor(checkpoint, name)) return *format;
  return absl::UnimplementedError(absl::StrCat(
      "--dtype ", name,
      " is not supported; give auto, f32, bf16, f16, int8, int4, or groups as in int4-g128"));
}

absl::StatusOr<KvFormat> ResolveKvFormat(const std::string& name, DType automatic) {
  if (name == "auto") return automatic;
  if (const auto format = shard_loader::ParseKvFormat(name)) return *format;
  return absl::UnimplementedError(
      absl::StrCat("--kv-dtype ", name, " is not supported; give auto, f32, bf16, f16 or int8"));
}

// The rank's best set with these numerics and, unless it is "auto", this name; null: none.
const v1::KernelSet* FindKernels(const v1::Description& description, const std::string& numerics,
                                 const std::string& name) {
  for (const v1::KernelSet& set : description.kernels()) {
    if (set.numerics() == numerics && (name == "auto" || set.name() == name)) return &set;
  }
  return nullptr;
}

std::string KernelNames(const v1::Description& description) {
  return absl::StrJoin(description.kernels(), ", ", [](std::string* out, const v1::KernelSet& set) {
    absl::StrAppend(out, set.name());
  });
}

// The kernel sets of a CUDA device are named for it.
bool IsCuda(const std::string& name) { return name.starts_with("cuda"); }

bool Allows(const std::string& device, const v1::KernelSet& set) {
  return device == "auto" || (device == "cuda") == IsCuda(set.numerics());
}

// `descriptions`: of one group, or of all.
std::string RankName(const GroupOptions& options, const std::vector<v1::Description>& descriptions,
                     size_t index) {
  const auto ranks = static_cast<size_t>(options.layout.tp * options.layout.pp);
  if (descriptions.size() == ranks) return absl::StrCat("rank ", index);
  return absl::StrCat("rank ", index % ranks, " of replica ", index / ranks);
}

// The first rank that cannot use CUDA, and why; empty where all can.
std::string WhyNotCuda(const GroupOptions& options,
                       const std::vector<v1::Description>& descriptions) {
  for (size_t rank = 0; rank < descriptions.size(); ++rank) {
    if (descriptions[rank].cuda_devices() > 0) continue;
    const std::string& problem = descriptions[rank].cuda_problem();
    return absl::StrCat(RankName(options, descriptions, rank), " on ", descriptions[rank].host(),
                        ": ", problem.empty() ? "its worker was not asked for CUDA" : problem);
  }
  return "";
}

uint32_t ResolveBudget(const GroupOptions& options, const std::string& numerics) {
  if (options.max_num_batched_tokens > 0) return options.max_num_batched_tokens;
  const bool cpu = options.device != "sim" && !IsCuda(numerics);
  return std::max(options.max_num_seqs, cpu ? kCpuBudget : kDeviceBudget);
}

// The best numerics of the first rank that every rank can run.
absl::StatusOr<std::string> DecideKernels(const GroupOptions& options,
                                          const std::vector<v1::Description>& descriptions) {
  const std::string& wanted = options.kernels;
  if (options.device == "cuda") {
    const std::string why = WhyNotCuda(options, descriptions);
    if (!why.empty()) return absl::FailedPreconditionError(absl::StrCat("--device cuda: ", why));
  }
  for (const v1::KernelSet& set : descriptions.front().kernels()) {
    if (!Allows(options.device, set)) continue;
    bool everywhere = std::all_of(
        descriptions.begin(), descriptions.end(), [&](const v1::Description& description) {
          return FindKernels(description, set.numerics(), wanted) != nullptr;
        });
    if (everywhere) return set.numerics();
  }
  std::string have;
  for (size_t rank = 0; rank < descriptions.size(); ++rank) {
    absl::StrAppend(&have, rank == 0 ? "" : "; ", RankName(options, descriptions, rank), " has ",
                    KernelNames(descriptions[rank]));
  }
  return absl::FailedPreconditionError(absl::StrCat("no kernel set ",
                                                    wanted == "auto" ? "with equal bits" : wanted,
                                                    " runs on every rank: ", have));
}

absl::Status CheckComm(const GroupOptions& options, const std::string& comm,
                       const std::vector<v1::Description>& descriptions) {
  if (comm == "none") return absl::OkStatus();
  for (size_t rank = 0; rank < descriptions.size(); ++rank) {
    const auto& comms = descriptions[rank].comms();
    if (std::find(comms.begin(), comms.end(), comm) != comms.end()) continue;
    return absl::FailedPreconditionError(absl::StrCat("--comm ", comm, ": ",
                                                      RankName(options, descriptions, rank),
                                                      " has only ", absl::StrJoin(comms, ", ")));
  }
  return absl::OkStatus();
}

// 0 for remote ranks: their own choice.
int ThreadsOfRank(const GroupOptions& options, const std::vector<v1::Description>& descriptions,
                  int rank) {
  if (!options.workers.empty()) return 0;
  // Those of the other groups have their part too.
  const int all_ranks = static_cast<int>(descriptions.size()) * options.num_replicas;
  if (options.threads > 0) return std::max(1, options.threads / all_ranks);
  const std::vector<int> cpus = CpusOfRank(options, rank);
  if (!cpus.empty()) return static_cast<int>(cpus.size());
  return std::max(1, static_cast<int>(descriptions[rank].threads()) / all_ranks);
}

// Bytes for all ranks where they share one host, else for each rank.
struct Memory {
  int64_t bytes = 0;
  bool shared = false;
};

// Of every rank on a device, which it may share with others of its host.
Memory AvailableCudaMemory(const std::vector<v1::Description>& descriptions) {
  std::map<std::string, int64_t> ranks;
  for (const v1::Description& description : descriptions) ++ranks[description.host()];
  Memory memory{std::numeric_limits<int64_t>::max(), false};
  for (const v1::Description& description : descriptions) {
    const int64_t devices = description.cuda_devices();
    const int64_t sharing = (ranks[description.host()] + devices - 1) / devices;
    memory.bytes =
        std::min(memory.bytes, static_cast<int64_t>(description.cuda_memory_bytes()) / sharing);
  }
  return memory;
}

// Whether every rank has NCCL, and a device of its own, which NCCL asks for.
bool HasNccl(const std::vector<v1::Description>& descriptions) {
  std::map<std::string, uint32_t> ranks;
  for (const v1::Description& description : descriptions) ++ranks[description.host()];
  return std::all_of(descriptions.begin(), descriptions.end(),
                     [&](const v1::Description& description) {
                       const auto& comms = description.comms();
                       return ranks[description.host()] <= description.cuda_devices() &&
                              std::find(comms.begin(), comms.end(), "nccl") != comms.end();
                     });
}

std::string DeviceInWords(const GroupOptions& options, const std::string& numerics,
                          const std::vector<v1::Description>& descriptions) {
  const std::string& asked = options.device;
  if (IsCuda(numerics)) {
    return absl::StrCat(descriptions.front().device(),
                        asked == "auto" ? " (auto: every rank has one)" : " (--device cuda)");
  }
  if (asked == "cpu") return "CPU (--device cpu)";
  const std::string why = WhyNotCuda(options, descriptions);
  return why.empty() ? "CPU (--kernels)" : absl::StrCat("CPU (auto: ", why, ")");
}

// Of the ranks of one group.
Memory AvailableMemory(absl::Span<const v1::Description> descriptions) {
  std::map<std::string, std::pair<int64_t, int>> hosts;  // least bytes that a rank saw, ranks
  for (const v1::Description& description : descriptions) {
    auto [entry, added] =
        hosts.try_emplace(description.host(), std::numeric_limits<int64_t>::max(), 0);
    entry->second.first =
        std::min(entry->second.first, static_cast<int64_t>(description.memory_bytes()));
    ++entry->second.second;
  }
  if (hosts.size() == 1) return {hosts.begin()->second.first, true};
  Memory memory{std::numeric_limits<int64_t>::max(), false};
  for (const auto& [name, host] : hosts)
    memory.bytes = std::min(memory.bytes, host.first / host.second);
  return memory;
}

// For each group: the least that one has. Groups with ranks on one host share what it has.
Memory AvailableMemoryOfEach(const GroupOptions& options,
                             absl::Span<const v1::Description> descriptions) {
  const size_t ranks = descriptions.size() / options.num_replicas;
  std::map<std::string, std::set<size_t>> groups;  // by host
  for (size_t i = 0; i < descriptions.size(); ++i) {
    groups[descriptions[i].host()].insert(i / ranks);
  }
  std::vector<Memory> memories;
  bool shared = true;
  for (size_t begin = 0; begin < descriptions.size(); begin += ranks) {
    size_t sharing = 1;
    for (size_t i = begin; i < begin + ranks; ++i) {
      sharing = std::max(sharing, groups[descriptions[i].host()].size());
    }
    Memory& memory = memories.emplace_back(AvailableMemory(descriptions.subspan(begin, ranks)));
    memory.bytes /= static_cast<int64_t>(sharing);
    shared = shared && memory.shared;
  }
  Memory least{std::numeric_limits<int64_t>::max(), shared};
  for (const Memory& memory : memories) {
    const bool of_all_ranks = memory.shared && !shared;
    least.bytes = std::min(
        least.bytes, of_all_ranks ? memory.bytes / static_cast<int64_t>(ranks) : memory.bytes);
  }
  return least;
}

absl::Status CheckDraft(const GroupOptions& options) {
  if (options.speculation.draft == nullptr) return absl::OkStatus();
  const int64_t own = options.checkpoint->spec().vocab_size;
  const int64_t draft = options.speculation.draft->spec().vocab_size;
  if (own == draft) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("--draft: the draft model has a vocabulary of ", draft,
                   " ids, the model one of ", own, "; give a draft model with the same tokenizer"));
}

// Slots in the memory of hosts whose devices hold everything else.
absl::Status CheckOffload(const shard_loader::MemoryPlan& plan, const Memory& host) {
  int64_t needed = 0;
  for (const shard_loader::RankMemory& rank : plan.ranks) {
    needed = host.shared ? needed + rank.offload : std::max(needed, rank.offload);
  }
  if (needed <= host.bytes) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("--kv-offload needs ", shard_loader::FormatBytes(needed), " of the memory of ",
                   host.shared ? "the host" : "a host", ", which has ",
                   shard_loader::FormatBytes(host.bytes), "; give less"));
}

void Fill(const SpeculationOptions& options, v1::Speculation* out) {
  out->set_num_tokens(options.num_tokens);
  out->set_ngram_min(options.ngram_min);
  out->set_ngram_max(options.ngram_max);
  if (options.draft == nullptr) return;
  out->set_draft_dir(std::filesystem::absolute(options.draft->folder()).string());
  out->set_draft_version(options.draft->weights_version());
}

}  // namespace

std::string ResolveComm(const GroupOptions& options) {
  if (options.layout.tp * options.layout.pp == 1 || options.device == "sim") return "none";
  if (options.comm != "auto") return options.comm;
  return options.workers.empty() ? "shm" : "gloo";
}

absl::StatusOr<GroupPlan> DecideGroup(const GroupOptions& options,
                                      const std::vector<v1::Description>& descriptions) {
  const shard_loader::Checkpoint& checkpoint = *options.checkpoint;
  GroupPlan plan;
  ASSIGN_OR_RETURN(WeightFormat dtype, ResolveFormat(options.dtype, checkpoint));
  ASSIGN_OR_RETURN(
      const KvFormat kv_dtype,
      ResolveKvFormat(options.kv_dtype, dtype.coded() ? checkpoint.dtype() : dtype.dtype));
  plan.dtype = shard_loader::WeightFormatName(dtype);
  plan.kv_dtype = shard_loader::KvFormatName(kv_dtype);
  plan.comm = ResolveComm(options);
  ASSIGN_OR_RETURN(plan.kernel_numerics, DecideKernels(options, descriptions));
  if (options.comm == "auto" && plan.comm != "none" && IsCuda(plan.kernel_numerics) &&
      HasNccl(descriptions)) {
    plan.comm = "nccl";
  }
  RETURN_IF_ERROR(CheckComm(options, plan.comm, descriptions));
  plan.device = DeviceInWords(options, plan.kernel_numerics, descriptions);

  ASSIGN_OR_RETURN(auto rank_plans, shard_loader::MakeRankPlans(checkpoint.spec(), options.layout));
  RETURN_IF_ERROR(CheckDraft(options));
  const shard_loader::Checkpoint* draft = options.speculation.draft;
  const uint32_t budget = ResolveBudget(options, plan.kernel_numerics);
  Memory available = IsCuda(plan.kernel_numerics) ? AvailableCudaMemory(descriptions)
                                                  : AvailableMemoryOfEach(options, descriptions);
  shard_loader::MemoryPlan memory =
      shard_loader::PlanMemory(checkpoint.spec(), rank_plans,
                               {.weight_dtype = dtype,
                                .kv_dtype = kv_dtype,
                                .limits = {budget, options.max_num_seqs},
                                .max_model_len = options.max_model_len,
                                .num_kv_blocks = options.num_kv_blocks,
                                .available_bytes = available.bytes,
                                .ranks_share_memory = available.shared,
                                .on_device = IsCuda(plan.kernel_numerics),
                                .draft = draft == nullptr ? nullptr : &draft->spec(),
                                .offload_bytes = options.kv_offload_bytes,
                                .offload_to_file = !options.kv_offload_dir.empty()});
  RETURN_IF_ERROR(memory.fits);
  if (IsCuda(plan.kernel_numerics)) {
    RETURN_IF_ERROR(CheckOffload(memory, AvailableMemoryOfEach(options, descriptions)));
  }

  shard_loader::NumericsId numerics{
      .kernel_set = plan.kernel_numerics,
      .weight_dtype = plan.dtype,
      .kv_dtype = plan.kv_dtype,
      .lanes = options.layout.lanes,
      .expert_order = shard_loader::ExpertOrderName(rank_plans[0].expert_order)};
  if (checkpoint.spec().DependsOnContext()) numerics.rope_context = memory.max_model_len;
  plan.facts = {.numerics_id = numerics.ToString(),
                .weights_version = checkpoint.weights_version(),
                .block_size = static_cast<uint32_t>(shard_loader::kKvBlockTokens),
                .num_kv_blocks = static_cast<uint32_t>(memory.num_kv_blocks),
                .num_kv_slots = static_cast<uint32_t>(memory.num_kv_slots),
                .max_model_len = static_cast<uint32_t>(memory.max_model_len),
                .max_num_batched_tokens = budget,
                .max_num_seqs = options.max_num_seqs,
                .stages = static_cast<uint32_t>(options.layout.pp),
                .num_speculative_tokens = options.speculation.num_tokens};
  return plan;
}

absl::StatusOr<std::vector<v1::Load>> LoadCommands(
    const GroupOptions& options, const GroupPlan& plan,
    const std::vector<v1::Description>& descriptions) {
  RETURN_IF_ERROR(CheckComm(options, plan.comm, descriptions));
  std::vector<v1::Load> commands;
  for (size_t rank = 0; rank < descriptions.size(); ++rank) {
    const v1::KernelSet* kernels =
        FindKernels(descriptions[rank], plan.kernel_numerics, options.kernels);
    if (kernels == nullptr) {
      return absl::FailedPreconditionError(
          absl::StrCat("rank ", rank, " on ", descriptions[rank].host(), " cannot run numerics id ",
                       plan.facts.numerics_id, ": it has ", KernelNames(descriptions[rank])));
    }
    v1::Load& load = commands.emplace_back();
    load.set_model_dir(std::filesystem::absolute(options.checkpoint->folder()).string());
    load.set_weights_version(plan.facts.weights_version);
    load.set_format(options.checkpoint->format());
    load.set_tp(options.layout.tp);
    load.set_pp(options.layout.pp);
    load.set_lanes(options.layout.lanes);
    load.set_ep(options.layout.ep);
    load.set_rank(static_cast<uint32_t>(rank));
    load.set_place(static_cast<uint32_t>(options.replica * descriptions.size() + rank));
    load.set_dtype(plan.dtype);
    load.set_kv_dtype(plan.kv_dtype);
    load.set_kernels(kernels->name());
    load.set_numerics_id(plan.facts.numerics_id);
    load.set_num_kv_blocks(plan.facts.num_kv_blocks);
    load.set_num_kv_slots(plan.facts.num_kv_slots);
    load.set_kv_offload_dir(options.kv_offload_dir);
    load.set_max_model_len(plan.facts.max_model_len);
    load.set_max_num_batched_tokens(plan.facts.max_num_batched_tokens);
    load.set_max_num_seqs(plan.facts.max_num_seqs);
    load.set_max_logprobs(std::max(options.max_logprobs, kBeamCandidates));
    load.set_threads(ThreadsOfRank(options, descriptions, static_cast<int>(rank)));
    Fill(options.speculation, load.mutable_speculation());
  }
  return commands;
}

}  // namespace tessera::server
