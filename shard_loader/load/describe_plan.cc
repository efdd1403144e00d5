#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "shard_loader/io/host_memory.h"
#include "shard_loader/load/describe.h"
#include "shard_loader/load/load_shard.h"
#include "shard_loader/plan/packed_layout.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

using nlohmann::json;

json RangeJson(Range range) { return {{"begin", range.begin}, {"end", range.end}}; }

std::string RangeText(const json& range) {
  const auto begin = range["begin"].get<int64_t>();
  const auto end = range["end"].get<int64_t>();
  if (begin == end) return "-";
  return end == begin + 1 ? absl::StrCat(begin) : absl::StrCat(begin, "-", end - 1);
}

json RankJson(const RankPlan& plan) {
  json rank = {{"rank", plan.rank},
               {"stage", plan.stage},
               {"tp_index", plan.tp_index},
               {"layers", RangeJson(plan.layers)},
               {"attention_lanes", RangeJson(plan.attention_lanes)},
               {"heads", RangeJson(plan.heads)},
               {"kv_heads", RangeJson(plan.kv_heads)},
               {"mlp_lanes", RangeJson(plan.mlp_lanes)},
               {"mlp_columns", RangeJson(plan.mlp_columns)},
               {"vocab", RangeJson(plan.vocab)},
               {"embedding", plan.has_embedding},
               {"head", plan.has_head}};
  if (plan.expert_order != ExpertOrder::kNone) {
    rank["experts"] = RangeJson(plan.experts);
    rank["expert_columns"] = RangeJson(plan.expert_columns);
  }
  return rank;
}

void AddMemory(const MemoryPlan& memory, const MemoryOptions& options, json& report) {
  for (const RankMemory& rank : memory.ranks) {
    report["ranks"][rank.rank]["memory"] = {
        {"weights", rank.weights}, {"workspace", rank.workspace},
        {"process", rank.process}, {"kv_per_block", rank.kv_per_block},
        {"kv", rank.kv},           {"total", rank.total()},
        {"staging", rank.staging}};
    if (options.offload_bytes > 0) {
      report["ranks"][rank.rank]["memory"]["kv_offload"] = rank.slots;
    }
  }
  report["memory"] = {{"kv_dtype", KvFormatName(options.kv_dtype)},
                      {"max_model_len", memory.max_model_len},
                      {"max_num_seqs", options.limits.max_num_seqs},
                      {"max_num_batched_tokens", options.limits.max_num_batched_tokens},
                      {"num_kv_blocks", memory.num_kv_blocks},
                      {"kv_tokens", memory.num_kv_blocks * kKvBlockTokens},
                      {"needed_bytes", memory.needed_bytes},
                      {"available_bytes", memory.available_bytes},
                      {"shared", options.ranks_share_memory}};
  if (options.offload_bytes > 0) {
    report["memory"]["num_kv_slots"] = memory.num_kv_slots;
    report["memory"]["kv_offload_to_file"] = options.offload_to_file;
  }
  report["fits"] = memory.fits.ok();
  if (!memory.fits.ok()) report["why"] = std::string(memory.fits.message());
}

std::string Bytes(const json& value) { return FormatBytes(value.get<int64_t>()); }

std::string CutLines(const json& report) {
  std::string text =
      absl::StrFormat("%-5s %-6s %-9s %-9s %-9s %-13s %-15s %-11s %s\n", "rank", "stage", "layers",
                      "heads", "kv heads", "mlp columns", "vocabulary", "reads", "holds");
  for (const json& rank : report["ranks"]) {
    const bool vocab = rank["embedding"].get<bool>() || rank["head"].get<bool>();
    absl::StrAppendFormat(&text, "%-5d %-6d %-9s %-9s %-9s %-13s %-15s %-11s %s\n",
                          rank["rank"].get<int>(), rank["stage"].get<int>(),
                          RangeText(rank["layers"]), RangeText(rank["heads"]),
                          RangeText(rank["kv_heads"]), RangeText(rank["mlp_columns"]),
                          vocab ? RangeText(rank["vocab"]) : "-", Bytes(rank["bytes_read"]),
                          Bytes(rank["bytes_held"]));
  }
  if (!report.contains("expert_order")) return text;
  absl::StrAppend(&text, "\nexperts, in the order '", report["expert_order"].get<std::string>(),
                  "'\n");
  for (const json& rank : report["ranks"]) {
    absl::StrAppendFormat(&text, "%-5d %-9s columns %s\n", rank["rank"].get<int>(),
                          RangeText(rank["experts"]), RangeText(rank["expert_columns"]));
  }
  return text;
}

std::string OffloadLine(const json& report) {
  const json& memory = report["memory"];
  if (!memory.contains("num_kv_slots")) return "";
  std::vector<std::string> bytes;
  for (const json& rank : report["ranks"]) bytes.push_back(Bytes(rank["memory"]["kv_offload"]));
  return absl::StrCat(
      "KV offload: ", memory["num_kv_slots"].get<int64_t>(), " blocks outside the cache; by rank ",
      absl::StrJoin(bytes, ", "),
      memory["kv_offload_to_file"].get<bool>() ? " in a file" : " of the host's memory", "\n");
}

std::string MemoryLines(const json& report) {
  std::string text = absl::StrFormat("\n%-5s %-11s %-11s %-11s %-11s %-11s %s\n", "rank", "weights",
                                     "workspace", "process", "kv/block", "kv", "total");
  for (const json& rank : report["ranks"]) {
    const json& memory = rank["memory"];
    absl::StrAppendFormat(&text, "%-5d %-11s %-11s %-11s %-11s %-11s %s\n", rank["rank"].get<int>(),
                          Bytes(memory["weights"]), Bytes(memory["workspace"]),
                          Bytes(memory["process"]), Bytes(memory["kv_per_block"]),
                          Bytes(memory["kv"]), Bytes(memory["total"]));
  }
  const json& memory = report["memory"];
  absl::StrAppend(&text, "KV cache: ", memory["num_kv_blocks"].get<int64_t>(), " blocks, ",
                  memory["kv_tokens"].get<int64_t>(), " tokens of ",
                  memory["kv_dtype"].get<std::string>(), "; a sequence has up to ",
                  memory["max_model_len"].get<int64_t>(), "\n");
  text += OffloadLine(report);
  if (report["fits"].get<bool>()) {
    absl::StrAppend(&text, "fits: needs ", Bytes(memory["needed_bytes"]), " of ",
                    Bytes(memory["available_bytes"]),
                    memory["shared"].get<bool>() ? " on this host" : " on each host");
    if (const int dp = report["dp"].get<int>(); dp > 1) {
      absl::StrAppend(&text, ", for each of ", dp, " replicas");
    }
    text += "\n";
  } else {
    absl::StrAppend(&text, "does not fit: ", report["why"].get<std::string>(), "\n");
  }
  return text;
}

}  // namespace

absl::StatusOr<MemoryOptions> ToMemoryOptions(const Checkpoint& checkpoint,
                                              const PlanRequest& request) {
  MemoryOptions options;
  options.weight_dtype = request.weight_dtype.value_or(checkpoint.dtype());
  const KvFormat as_weights =
      options.weight_dtype.coded() ? checkpoint.dtype() : options.weight_dtype.dtype;
  options.kv_dtype = request.kv_dtype.value_or(as_weights);
  options.limits = request.limits;
  options.max_model_len = request.max_model_len;
  options.num_kv_blocks = request.num_kv_blocks;
  options.offload_bytes = request.offload_bytes;
  options.offload_to_file = request.offload_to_file;
  options.ranks_share_memory = request.ranks_share_memory;
  options.stored_dtype = checkpoint.dtype();
  if (request.max_model_len < 0 || request.max_model_len > checkpoint.spec().context_length) {
    return absl::FailedPreconditionError(absl::StrCat(
        "shard_loader: --max-model-len ", request.max_model_len, ": the model was made for 1 to ",
        checkpoint.spec().context_length, " positions"));
  }
  if (request.limits.max_num_batched_tokens < 1 || request.limits.max_num_seqs < 1 ||
      request.num_kv_blocks < 0) {
    return absl::FailedPreconditionError(
        "shard_loader: --max-num-batched-tokens and --max-num-seqs start at 1, --num-kv-blocks at "
        "0 (automatic)");
  }
  if (request.available_bytes) {
    options.available_bytes = *request.available_bytes;
  } else {
    ASSIGN_OR_RETURN(const HostMemory host, ReadHostMemory());
    options.available_bytes = host.usable();
  }
  if (options.ranks_share_memory) options.available_bytes /= request.replicas;
  return options;
}

absl::StatusOr<json> PlanJson(const Checkpoint& checkpoint, const PlanRequest& request) {
  ASSIGN_OR_RETURN(const std::vector<RankPlan> plans,
                   MakeRankPlans(checkpoint.spec(), request.layout));
  const WeightFormat dtype = request.weight_dtype.value_or(checkpoint.dtype());
  json report = {{"folder", checkpoint.folder().string()},
                 {"tp", request.layout.tp},
                 {"pp", request.layout.pp},
                 {"dp", request.replicas},
                 {"lanes", request.layout.lanes},
                 {"attention_lanes", plans[0].attention_tree.num_lanes()},
                 {"mlp_lanes", plans[0].mlp_tree.num_lanes()},
                 {"stored_dtype", DTypeName(checkpoint.dtype())},
                 {"weight_dtype", WeightFormatName(dtype)},
                 {"bytes", checkpoint.total_bytes()},
                 {"ranks", json::array()}};
  if (plans[0].expert_order != ExpertOrder::kNone) {
    report["expert_order"] = ExpertOrderName(plans[0].expert_order);
  }
  for (const RankPlan& plan : plans) {
    json rank = RankJson(plan);
    ASSIGN_OR_RETURN(rank["bytes_read"], ShardBytes(checkpoint, plan));
    rank["bytes_held"] = MakePackedLayout(checkpoint.spec(), plan, dtype).bytes;
    report["ranks"].push_back(std::move(rank));
  }
  if (request.memory) {
    ASSIGN_OR_RETURN(const MemoryOptions options, ToMemoryOptions(checkpoint, request));
    AddMemory(PlanMemory(checkpoint.spec(), plans, options), options, report);
  }
  return report;
}

absl::StatusOr<std::string> PlanText(const Checkpoint& checkpoint, const PlanRequest& request) {
  ASSIGN_OR_RETURN(const json report, PlanJson(checkpoint, request));
  std::string text = absl::StrCat(report["folder"].get<std::string>(), ": ", Bytes(report["bytes"]),
                                  " stored as ", report["stored_dtype"].get<std::string>(),
                                  ", held as ", report["weight_dtype"].get<std::string>(), "; tp ",
                                  request.layout.tp, ", pp ", request.layout.pp, ", ",
                                  report["attention_lanes"].get<int>(), " attention lanes, ",
                                  report["mlp_lanes"].get<int>(), " MLP lanes\n", CutLines(report));
  if (request.memory) absl::StrAppend(&text, MemoryLines(report));
  return text;
}

}  // namespace tessera::shard_loader
