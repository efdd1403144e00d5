#include "server/executor/group_plan.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "shard_loader/load/checkpoint.h"
#include "shard_loader/plan/memory.h"
#include "shard_loader/plan/numerics_id.h"
#include "shard_loader/plan/rank_plan.h"
#include "shard_loader/status_macros.h"

namespace tessera::server {
namespace {

namespace v1 = internal::v1;
using shard_loader::DType;

absl::StatusOr<DType> ResolveDType(const std::string& flag, const std::string& name,
                                   DType automatic) {
  if (name == "auto") return automatic;
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    if (name == shard_loader::DTypeName(dtype)) return dtype;
  }
  return absl::UnimplementedError(
      absl::StrCat(flag, " ", name, " is not supported; give auto, f32, bf16 or f16"));
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

// The best numerics of the first rank that every rank can run.
absl::StatusOr<std::string> DecideKernels(const std::string& wanted,
                                          const std::vector<v1::Description>& descriptions) {
  for (const v1::KernelSet& set : descriptions.front().kernels()) {
    bool everywhere = std::all_of(
        descriptions.begin(), descriptions.end(), [&](const v1::Description& description) {
          return FindKernels(description, set.numerics(), wanted) != nullptr;
        });
    if (everywhere) return set.numerics();
  }
  std::string have;
  for (size_t rank = 0; rank < descriptions.size(); ++rank) {
    absl::StrAppend(&have, rank == 0 ? "" : "; ", "rank ", rank, " has ",
                    KernelNames(descriptions[rank]));
  }
  return absl::FailedPreconditionError(absl::StrCat("no kernel set ",
                                                    wanted == "auto" ? "with equal bits" : wanted,
                                                    " runs on every rank: ", have));
}

absl::Status CheckComm(const std::string& comm, const std::vector<v1::Description>& descriptions) {
  if (comm == "none") return absl::OkStatus();
  for (size_t rank = 0; rank < descriptions.size(); ++rank) {
    const auto& comms = descriptions[rank].comms();
    if (std::find(comms.begin(), comms.end(), comm) != comms.end()) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("--comm ", comm, ": rank ", rank, " has only ", absl::StrJoin(comms, ", ")));
  }
  return absl::OkStatus();
}

// Bytes for all ranks where they share one host, else for each rank.
struct Memory {
  int64_t bytes = 0;
  bool shared = false;
};

Memory AvailableMemory(const std::vector<v1::Description>& descriptions) {
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
  ASSIGN_OR_RETURN(DType dtype, ResolveDType("--dtype", options.dtype, checkpoint.dtype()));
  ASSIGN_OR_RETURN(DType kv_dtype, ResolveDType("--kv-dtype", options.kv_dtype, dtype));
  plan.dtype = shard_loader::DTypeName(dtype);
  plan.kv_dtype = shard_loader::DTypeName(kv_dtype);
  plan.comm = ResolveComm(options);
  RETURN_IF_ERROR(CheckComm(plan.comm, descriptions));
  ASSIGN_OR_RETURN(plan.kernel_numerics, DecideKernels(options.kernels, descriptions));

  ASSIGN_OR_RETURN(auto rank_plans, shard_loader::MakeRankPlans(checkpoint.spec(), options.layout));
  Memory available = AvailableMemory(descriptions);
  shard_loader::MemoryPlan memory =
      shard_loader::PlanMemory(checkpoint.spec(), rank_plans,
                               {.weight_dtype = dtype,
                                .kv_dtype = kv_dtype,
                                .limits = {options.max_num_batched_tokens, options.max_num_seqs},
                                .max_model_len = options.max_model_len,
                                .num_kv_blocks = options.num_kv_blocks,
                                .available_bytes = available.bytes,
                                .ranks_share_memory = available.shared});
  RETURN_IF_ERROR(memory.fits);

  shard_loader::NumericsId numerics{.kernel_set = plan.kernel_numerics,
                                    .weight_dtype = plan.dtype,
                                    .kv_dtype = plan.kv_dtype,
                                    .lanes = options.layout.lanes};
  plan.facts = {.numerics_id = numerics.ToString(),
                .weights_version = checkpoint.weights_version(),
                .block_size = static_cast<uint32_t>(shard_loader::kKvBlockTokens),
                .num_kv_blocks = static_cast<uint32_t>(memory.num_kv_blocks),
                .max_model_len = static_cast<uint32_t>(memory.max_model_len),
                .max_num_batched_tokens = options.max_num_batched_tokens,
                .max_num_seqs = options.max_num_seqs,
                .stages = static_cast<uint32_t>(options.layout.pp)};
  return plan;
}

absl::StatusOr<std::vector<v1::Load>> LoadCommands(
    const GroupOptions& options, const GroupPlan& plan,
    const std::vector<v1::Description>& descriptions) {
  RETURN_IF_ERROR(CheckComm(plan.comm, descriptions));
  int local_threads = 0;  // per rank; 0 for remote ones: their own choice
  if (options.workers.empty()) {
    int all = options.threads > 0 ? options.threads : static_cast<int>(descriptions[0].threads());
    local_threads = std::max(1, all / static_cast<int>(descriptions.size()));
  }
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
    load.set_rank(static_cast<uint32_t>(rank));
    load.set_dtype(plan.dtype);
    load.set_kv_dtype(plan.kv_dtype);
    load.set_kernels(kernels->name());
    load.set_numerics_id(plan.facts.numerics_id);
    load.set_num_kv_blocks(plan.facts.num_kv_blocks);
    load.set_max_model_len(plan.facts.max_model_len);
    load.set_max_num_batched_tokens(plan.facts.max_num_batched_tokens);
    load.set_max_num_seqs(plan.facts.max_num_seqs);
    load.set_max_logprobs(options.max_logprobs);
    load.set_threads(local_threads);
  }
  return commands;
}

}  // namespace tessera::server
