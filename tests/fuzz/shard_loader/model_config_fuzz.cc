// config.json: a spec that is accepted can be planned, and no byte count overflows.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "shard_loader/model/families.h"
#include "shard_loader/plan/memory.h"
#include "shard_loader/plan/rank_plan.h"
#include "shard_loader/plan/slices.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tessera::shard_loader;
  const auto model = ParseConfig({reinterpret_cast<const char*>(data), size});
  if (!model.ok()) return 0;
  const DecoderSpec& spec = model->spec;
  if (spec.attention.windows.size() != static_cast<size_t>(spec.num_layers)) std::abort();
  const auto plans = MakeRankPlans(spec, {1, spec.num_layers > 1 ? 2 : 1, 8});
  if (!plans.ok()) std::abort();
  for (const RankPlan& plan : *plans) {
    for (const TensorSlice& slice : RankSlices(spec, plan)) {
      if (slice.elements() <= 0) std::abort();
      if (model->ForeignName(slice.source).empty()) std::abort();
    }
  }
  const MemoryPlan memory = PlanMemory(spec, *plans, {.available_bytes = int64_t{1} << 40});
  if (memory.needed_bytes <= 0) std::abort();
  return 0;
}
