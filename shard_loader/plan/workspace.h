// Exact bytes of what a rank's steps need beside the weights: the KV cache and the workspace that
// holds activations, partial sums and logits. The worker allocates by these numbers.
#ifndef TESSERA_SHARD_LOADER_PLAN_WORKSPACE_H_
#define TESSERA_SHARD_LOADER_PLAN_WORKSPACE_H_

#include <cstdint>

#include "shard_loader/model/decoder_spec.h"
#include "shard_loader/plan/kv_format.h"
#include "shard_loader/plan/rank_plan.h"

namespace tessera::shard_loader {

inline constexpr int64_t kKvBlockTokens = 16;

// Where a layer's cache of one KV head lies in a block, in elements. Keys stand as [head_size, 16
// tokens], so that a vector holds one element of 16 keys; values as [16 tokens, padded head size],
// so that a vector holds 16 elements of one value. With int8 the scales follow, fp32: of 16 keys,
// then of 16 values. A layer is [blocks, kv_heads, this].
struct KvBlockShape {
  int64_t head_size = 0;
  int64_t value_stride = 0;  // head_size rounded up to 16

  int64_t keys() const { return head_size * kKvBlockTokens; }
  int64_t elements() const { return keys() + value_stride * kKvBlockTokens; }
  int64_t bytes(const KvFormat& format) const;
};

KvBlockShape MakeKvBlockShape(const DecoderSpec& spec);

// Of all layers of this rank.
int64_t KvBytesPerBlock(const DecoderSpec& spec, const RankPlan& plan, const KvFormat& format);

struct StepLimits {
  int64_t max_num_batched_tokens = 0;
  int64_t max_num_seqs = 0;
};

struct ByteSpan {
  int64_t offset = 0;
  int64_t bytes = 0;
};

// T: max_num_batched_tokens; M: expert_rows. All fp32 except where said.
struct WorkspaceLayout {
  ByteSpan residual;  // [T, hidden]
  ByteSpan normed;    // [T, hidden]; also the sums of row-parallel products
  // [T, hidden]: of experts; or right behind `normed`, for both sums of parallel residuals.
  ByteSpan branch;
  ByteSpan embedded;      // [T, embedding], where that is not hidden
  ByteSpan angles;        // [2, T, rotary_size / 2]: cosines, then sines; of RopeUse::kMain
  ByteSpan local_angles;  // likewise of RopeUse::kLocal
  ByteSpan query;         // [T, heads, head_size]
  ByteSpan key;           // [T, kv_heads, head_size]
  ByteSpan value;         // [T, kv_heads, values]
  ByteSpan attention;     // [T, heads, values]
  ByteSpan query_latent;  // [T, query_rank]
  ByteSpan latent;        // [T, kv_rank]
  ByteSpan key_rope;      // [T, rotary_size], of latent attention
  ByteSpan key_parts;     // [T, kv_heads, head_size - rotary_size], likewise
  ByteSpan squares;       // QkNorm::kAllHeads: [T, heads and KV heads of every rank], then [2, T]
  ByteSpan gate;          // [T, columns of the MLP or of shared experts, the more]
  ByteSpan up;            // likewise
  ByteSpan router;        // [M, experts]
  ByteSpan shared_gate;   // [T], where shared experts have a gate
  ByteSpan expert_input;  // [M, hidden]
  ByteSpan expert_gate;   // [M, columns of an expert]
  ByteSpan expert_up;     // likewise
  ByteSpan expert_parts;  // [lanes in an expert, M, hidden]
  ByteSpan expert_sums;   // [lanes of the rank, M, hidden]
  // [maximal subtrees of the rank, T, hidden], of parallel residuals those of the attention, then
  // those of the MLP; also gathered embedding rows.
  ByteSpan roots;
  int64_t expert_rows = 0;  // rows that pass over the experts at a time
  int64_t logit_rows = 0;   // R: rows whose logits are computed at a time
  ByteSpan logit_input;     // [R, hidden]
  ByteSpan logit_project;   // [R, embedding], where that is not hidden
  ByteSpan shard_logits;    // [R, vocab of this rank], where it is not the whole
  ByteSpan rank_logits;     // [tp][R, vocab of the rank]: as they arrive where tokens are drawn
  ByteSpan logits;          // [R, vocab], where tokens are drawn
  ByteSpan sampling;  // scratch of the sampler: kSamplingBytesPerId for each id of the vocabulary
  int64_t arena_bytes = 0;     // of all above
  int64_t lane_sum_bytes = 0;  // of worker/comm's LaneSumWorkspace
  int64_t bytes() const { return arena_bytes + lane_sum_bytes; }
};

inline constexpr int64_t kSamplingBytesPerId = 24;

// Rows that a draft model computes at a time: the limits of its workspace.
inline constexpr int64_t kDraftRows = 256;

WorkspaceLayout MakeWorkspaceLayout(const DecoderSpec& spec, const RankPlan& plan,
                                    const StepLimits& limits);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_PLAN_WORKSPACE_H_
