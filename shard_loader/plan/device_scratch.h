// Exact bytes of what a device's kernels need beside weights, cache and workspace. They are taken
// once, when a rank starts, and nothing is taken after.
#ifndef TESSERA_SHARD_LOADER_PLAN_DEVICE_SCRATCH_H_
#define TESSERA_SHARD_LOADER_PLAN_DEVICE_SCRATCH_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "shard_loader/model/decoder_spec.h"
#include "shard_loader/plan/rank_plan.h"
#include "shard_loader/plan/weight_format.h"
#include "shard_loader/plan/workspace.h"

namespace tessera::shard_loader {

// Tiles of attention are reduced apart, in room of their own, where there are fewer groups of rows
// x KV heads than kFewDeviceBlocks and they take no more than kMaxDeviceTileBytes.
inline constexpr int64_t kFewDeviceBlocks = 256;
inline constexpr int64_t kMaxDeviceTileBytes = int64_t{256} << 20;
// Rows whose inputs of a product with coded weights are held as integers at a time.
inline constexpr int64_t kDeviceCodedRows = 256;
// The columns of one group within one lane, as the kernel reads them.
inline constexpr int64_t kDeviceSegmentBytes = 32;
// Of a row that is drawn: for each id, and for each block of ids.
inline constexpr int64_t kDeviceDrawBytesPerId = 12;
inline constexpr int64_t kDeviceDrawBytesPerBlock = 16;
inline constexpr int64_t kDeviceDrawBytesPerRow = 1024;  // what is asked, and what comes of it

struct DeviceScratch {
  int64_t rows = 0;        // the row table of a step
  int64_t indices = 0;     // ids and rows that come from the host
  int64_t narrowed = 0;    // the left input of a product in 16 bits
  int64_t codes = 0;       // likewise as integers, with their scales and sums
  int64_t tiles = 0;       // of attention
  int64_t constants = 0;   // small arrays that hold for the life of the rank
  int64_t draw_lists = 0;  // ids that draws depend on: whole sequences, what is forbidden or biased
  int64_t draw_rows = 0;   // rows that are drawn at a time, and what is made of their logits
  int64_t most_draws = 0;  // a number, not bytes: of those rows
  int64_t choices = 0;     // the experts of a step's rows
  int64_t experts = 0;     // what they work in (shard_loader/plan/device_experts.h)

  int64_t bytes() const {
    return rows + indices + narrowed + codes + tiles + constants + draw_lists + draw_rows +
           choices + experts;
  }
};

struct DeviceScratchOptions {
  WeightFormat weights;
  StepLimits limits;
  int64_t max_model_len = 0;
};

DeviceScratch PlanDeviceScratch(const DecoderSpec& spec, const RankPlan& plan,
                                const DeviceScratchOptions& options);
// Of a draft model, whole on the rank that draws. Errors are those of MakeRankPlans.
absl::StatusOr<DeviceScratch> PlanDraftScratch(const DecoderSpec& spec, const WeightFormat& weights,
                                               int64_t max_model_len);
// Of two models that take turns: what does not hold beyond an operation is shared.
DeviceScratch InTurns(const DeviceScratch& a, const DeviceScratch& b);

// A row of a product's inputs that becomes integers: bytes of the codes, at most, where its columns
// are cut into so many segments.
constexpr int64_t DeviceCodeStride(int64_t columns, int64_t segments) {
  return (columns + 16 * segments + 63) / 64 * 64;
}

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_PLAN_DEVICE_SCRATCH_H_
