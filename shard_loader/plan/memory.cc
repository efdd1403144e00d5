#include "shard_loader/plan/memory.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "shard_loader/plan/device_scratch.h"
#include "shard_loader/plan/packed_layout.h"
#include "shard_loader/plan/rounding.h"
#include "shard_loader/plan/slices.h"

namespace tessera::shard_loader {
namespace {

// What the ranks of one memory take: all of them, or the worst of those that have one each.
struct Demand {
  int64_t fixed = 0;
  int64_t kv_per_block = 0;
  int64_t loading = 0;
};

std::vector<Demand> DemandsOf(const MemoryPlan& plan, bool shared) {
  std::vector<Demand> demands(shared ? 1 : plan.ranks.size());
  for (size_t i = 0; i < plan.ranks.size(); ++i) {
    Demand& demand = demands[shared ? 0 : i];
    demand.fixed += plan.ranks[i].fixed();
    demand.kv_per_block += plan.ranks[i].kv_per_block;
    demand.loading += plan.ranks[i].loading();
  }
  return demands;
}

// Blocks that fit beside everything else in every memory; negative where not even that fits.
int64_t Capacity(const std::vector<Demand>& demands, int64_t available) {
  int64_t blocks = std::numeric_limits<int64_t>::max();
  for (const Demand& demand : demands) {
    const int64_t rest = demand.loading > available ? -1 : available - demand.fixed;
    blocks = std::min(blocks, rest < 0 ? -1 : rest / std::max<int64_t>(1, demand.kv_per_block));
  }
  return blocks;
}

int64_t Needed(const std::vector<Demand>& demands, int64_t blocks) {
  int64_t most = 0;
  for (const Demand& demand : demands) {
    most = std::max({most, demand.fixed + blocks * demand.kv_per_block, demand.loading});
  }
  return most;
}

struct Evaluation {
  MemoryPlan plan;
  int64_t capacity = 0;      // blocks that fit
  int64_t one_sequence = 0;  // blocks of the longest sequence
  bool fits() const { return plan.num_kv_blocks >= one_sequence && plan.num_kv_blocks <= capacity; }
};

int64_t LargestSlice(const DecoderSpec& spec, const RankPlan& plan, DType stored) {
  int64_t most = 0;
  for (const TensorSlice& slice : RankSlices(spec, plan)) {
    most = std::max(most, slice.elements() * DTypeSize(stored));
  }
  return most;
}

void AddDraft(const MemoryOptions& options, RankMemory& memory) {
  const auto plans = MakeRankPlans(*options.draft, {1, 1, 1});
  if (!plans.ok()) return;  // refused where the draft is loaded
  memory.draft = MakePackedLayout(*options.draft, (*plans)[0], options.weight_dtype).bytes +
                 MakeWorkspaceLayout(*options.draft, (*plans)[0], {kDraftRows, kDraftRows}).bytes();
  memory.kv_per_block += KvBytesPerBlock(*options.draft, (*plans)[0], options.kv_dtype);
}

int64_t ScratchBytes(const DecoderSpec& spec, const RankPlan& rank, bool drafts,
                     const MemoryOptions& options) {
  const DeviceScratch own = PlanDeviceScratch(spec, rank,
                                              {.weights = options.weight_dtype,
                                               .limits = options.limits,
                                               .max_model_len = options.max_model_len});
  if (!drafts) return own.bytes();
  const int64_t length = options.max_model_len > 0 ? options.max_model_len : spec.context_length;
  const auto draft = PlanDraftScratch(*options.draft, options.weight_dtype, length);
  return draft.ok() ? InTurns(own, *draft).bytes() : own.bytes();
}

// As many slots as every rank's part of the cache has room for.
void AddOffload(const MemoryOptions& options, const std::vector<int64_t>& block_bytes,
                MemoryPlan& plan) {
  if (options.offload_bytes <= 0) return;
  const int64_t largest = *std::max_element(block_bytes.begin(), block_bytes.end());
  plan.num_kv_slots = options.offload_bytes / std::max<int64_t>(1, largest);
  for (size_t rank = 0; rank < plan.ranks.size(); ++rank) {
    RankMemory& memory = plan.ranks[rank];
    memory.slots = plan.num_kv_slots * block_bytes[rank];
    memory.offload = options.offload_to_file ? block_bytes[rank] : memory.slots;
  }
}

// Without looking for advice, so that advice may call it.
Evaluation Evaluate(const DecoderSpec& spec, absl::Span<const RankPlan> plans,
                    const MemoryOptions& options) {
  Evaluation result;
  MemoryPlan& plan = result.plan;
  std::vector<int64_t> block_bytes;  // of the model alone: a draft's blocks are not kept
  for (const RankPlan& rank : plans) {
    RankMemory memory;
    memory.rank = rank.rank;
    memory.weights = MakePackedLayout(spec, rank, options.weight_dtype).bytes;
    memory.workspace = MakeWorkspaceLayout(spec, rank, options.limits).bytes();
    const bool drafts = rank.has_head && rank.tp_index == 0 && options.draft != nullptr;
    if (options.on_device) memory.workspace += ScratchBytes(spec, rank, drafts, options);
    memory.process = kProcessBytes;
    memory.staging = LargestSlice(spec, rank, options.stored_dtype);
    memory.kv_per_block = KvBytesPerBlock(spec, rank, options.kv_dtype);
    memory.on_device = options.on_device;
    block_bytes.push_back(memory.kv_per_block);
    if (drafts) AddDraft(options, memory);
    plan.ranks.push_back(memory);
  }
  if (!plan.ranks.empty()) AddOffload(options, block_bytes, plan);
  plan.max_model_len = options.max_model_len > 0 ? options.max_model_len : spec.context_length;
  plan.available_bytes = options.available_bytes;
  result.one_sequence = CeilDiv(plan.max_model_len, kKvBlockTokens);
  const std::vector<Demand> demands = DemandsOf(plan, options.ranks_share_memory);
  result.capacity = Capacity(demands, options.available_bytes);
  const int64_t useful = std::max<int64_t>(1, options.limits.max_num_seqs) * result.one_sequence;
  plan.num_kv_blocks = options.num_kv_blocks > 0
                           ? options.num_kv_blocks
                           : std::max(std::min(useful, result.capacity), result.one_sequence);
  plan.needed_bytes = Needed(demands, plan.num_kv_blocks);
  for (RankMemory& memory : plan.ranks) memory.kv = memory.kv_per_block * plan.num_kv_blocks;
  return result;
}

// The smallest wider layout with a memory of its own for each rank that fits.
std::optional<Layout> WiderLayout(const DecoderSpec& spec, const Layout& now,
                                  MemoryOptions options) {
  options.ranks_share_memory = false;
  std::vector<Layout> candidates;
  int tp = now.tp;
  for (; tp <= now.lanes; ++tp) {
    if (!MakeRankPlans(spec, {tp, now.pp, now.lanes}).ok()) break;
    candidates.push_back({tp, now.pp, now.lanes});
  }
  for (int pp = now.pp + 1; pp <= spec.num_layers; pp *= 2) {
    candidates.push_back({std::max(1, tp - 1), pp, now.lanes});
  }
  for (const Layout& layout : candidates) {
    const auto plans = MakeRankPlans(spec, layout);
    if (plans.ok() && plans->size() > 1 && Evaluate(spec, *plans, options).fits()) return layout;
  }
  return std::nullopt;
}

std::string Advice(const DecoderSpec& spec, const Layout& layout, const MemoryOptions& options,
                   const Evaluation& found) {
  std::vector<std::string> ways;
  if (found.capacity >= 1 && found.capacity < found.one_sequence) {
    ways.push_back(absl::StrCat("--max-model-len ", found.capacity * kKvBlockTokens));
  }
  if (found.capacity >= found.one_sequence) {
    ways.push_back(absl::StrCat("--num-kv-blocks ", found.capacity));
  }
  if (options.limits.max_num_batched_tokens > 256) {
    MemoryOptions smaller = options;
    smaller.limits.max_num_batched_tokens = 256;
    smaller.limits.max_num_seqs = std::min<int64_t>(options.limits.max_num_seqs, 256);
    const auto plans = MakeRankPlans(spec, layout);
    if (plans.ok() && Evaluate(spec, *plans, smaller).fits()) {
      ways.push_back("--max-num-batched-tokens 256");
    }
  }
  if (options.offload_bytes > 0 && !options.offload_to_file && !options.on_device) {
    ways.push_back("a smaller --kv-offload");
  }
  if (options.weight_dtype == WeightFormat(DType::kF32)) ways.push_back("--dtype bf16");
  if (!options.weight_dtype.coded()) ways.push_back("--dtype int8");
  if (const auto wider = WiderLayout(spec, layout, options)) {
    ways.push_back(absl::StrCat("--tp ", wider->tp,
                                wider->pp > 1 ? absl::StrCat(" --pp ", wider->pp) : std::string(),
                                " with one rank on each host (--workers)"));
  }
  std::string advice;
  for (const std::string& way : ways) absl::StrAppend(&advice, advice.empty() ? "" : ", or ", way);
  return advice.empty() ? "use a machine with more memory" : absl::StrCat("use ", advice);
}

absl::Status Refusal(const DecoderSpec& spec, const Layout& layout, const MemoryOptions& options,
                     const Evaluation& found) {
  const MemoryPlan& plan = found.plan;
  if (plan.num_kv_blocks < found.one_sequence) {
    return absl::FailedPreconditionError(
        absl::StrCat("shard_loader: --num-kv-blocks ", plan.num_kv_blocks, " hold ",
                     plan.num_kv_blocks * kKvBlockTokens, " tokens, less than one sequence of ",
                     plan.max_model_len, "; use --num-kv-blocks ", found.one_sequence,
                     " or more, or ", "--max-model-len ", plan.num_kv_blocks * kKvBlockTokens));
  }
  RankMemory sum;
  for (const RankMemory& rank : plan.ranks) {
    const bool worst = std::max(rank.total(), rank.loading()) == plan.needed_bytes;
    if (!options.ranks_share_memory && !worst) continue;
    sum.weights += rank.weights;
    sum.workspace += rank.workspace + rank.draft;
    sum.process += rank.process;
    sum.staging += rank.staging;
    sum.kv += rank.kv;
    sum.offload += rank.offload;
    sum.on_device = rank.on_device;
    if (!options.ranks_share_memory) break;
  }
  const std::string rest =
      sum.loading() > sum.total()
          ? absl::StrCat("a weight being packed ", FormatBytes(sum.staging), ", process ",
                         FormatBytes(sum.process))
          : absl::StrCat("KV cache of ", plan.num_kv_blocks * kKvBlockTokens, " tokens ",
                         FormatBytes(sum.kv),
                         sum.offload > 0 && !sum.on_device
                             ? absl::StrCat(", KV offload ", FormatBytes(sum.offload))
                             : "",
                         ", workspace and process ", FormatBytes(sum.workspace + sum.process));
  const std::string who =
      options.ranks_share_memory
          ? absl::StrCat(plan.ranks.size(), " rank",
                         plan.ranks.size() == 1 ? " on one host needs" : "s on one host need")
          : "the largest rank needs";
  return absl::FailedPreconditionError(absl::StrCat(
      "shard_loader: the model does not fit: ", who, " ", FormatBytes(plan.needed_bytes),
      " (weights ", FormatBytes(sum.weights), ", ", rest, "), has ",
      FormatBytes(plan.available_bytes), "; ", Advice(spec, layout, options, found)));
}

absl::Status CheckSlots(const MemoryOptions& options, const MemoryPlan& plan) {
  if (options.offload_bytes <= 0 || plan.ranks.empty()) return absl::OkStatus();
  const std::string asked = absl::StrCat("shard_loader: --kv-offload ",
                                         FormatBytes(options.offload_bytes), " of each rank");
  if (plan.num_kv_slots == 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(asked, " does not hold one block of the KV cache; give more"));
  }
  if (plan.num_kv_slots > kMostKvSlots) {
    return absl::FailedPreconditionError(absl::StrCat(asked, " is room for ", plan.num_kv_slots,
                                                      " blocks; the server keeps the books of ",
                                                      kMostKvSlots, " at most: give less"));
  }
  return absl::OkStatus();
}

}  // namespace

MemoryPlan PlanMemory(const DecoderSpec& spec, absl::Span<const RankPlan> plans,
                      const MemoryOptions& options) {
  Evaluation found = Evaluate(spec, plans, options);
  found.plan.fits = CheckSlots(options, found.plan);
  if (!found.plan.fits.ok()) return std::move(found.plan);
  if (!found.fits() && !plans.empty()) {
    found.plan.fits = Refusal(spec, plans[0].layout, options, found);
  }
  return std::move(found.plan);
}

std::string FormatBytes(int64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  if (unit == 0) return absl::StrCat(bytes, " B");
  return absl::StrFormat("%.2f %s", value, kUnits[unit]);
}

}  // namespace tessera::shard_loader
