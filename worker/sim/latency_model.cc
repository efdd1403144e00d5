#include "worker/sim/latency_model.h"

#include <algorithm>

#include "shard_loader/plan/packed_layout.h"
#include "shard_loader/plan/workspace.h"

namespace tessera::worker {

std::vector<StageShare> StageShares(const shard_loader::DecoderSpec& spec,
                                    absl::Span<const shard_loader::RankPlan> plans,
                                    const shard_loader::KvFormat& kv_format) {
  std::vector<StageShare> shares;
  for (const shard_loader::RankPlan& plan : plans) {
    if (plan.stage == static_cast<int>(shares.size())) shares.emplace_back();
    StageShare& share = shares.back();
    const auto layers = static_cast<double>(plan.layers.end - plan.layers.begin);
    share.layers = layers / static_cast<double>(spec.num_layers);
    share.tp = static_cast<uint32_t>(plan.layout.tp);
    const auto bytes = static_cast<double>(shard_loader::KvBytesPerBlock(spec, plan, kv_format));
    share.kv_bytes_per_token =
        std::max(share.kv_bytes_per_token, bytes / shard_loader::kKvBlockTokens);
  }
  return shares;
}

absl::Duration StageTime(const LatencyModel& model, const StageShare& share, const StepLoad& load) {
  const double compute_us =
      model.fixed_us + model.token_us * static_cast<double>(load.tokens) / share.tp;
  const double kv_bytes = share.kv_bytes_per_token * static_cast<double>(load.kv_tokens);
  // 10^9 bytes a second are 1,000 a microsecond.
  return absl::Microseconds(compute_us * share.layers + kv_bytes / (1000.0 * model.kv_gbps));
}

}  // namespace tessera::worker
