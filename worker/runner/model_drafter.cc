#include "worker/runner/model_drafter.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "shard_loader/plan/rank_plan.h"
#include "shard_loader/plan/workspace.h"
#include "shard_loader/status_macros.h"
#include "worker/comm/local_communicator.h"
#include "worker/model/load_weights.h"
#include "worker/runner/step_sampler.h"

namespace tessera::worker {

using shard_loader::kDraftRows;
using shard_loader::kKvBlockTokens;

absl::StatusOr<std::unique_ptr<ModelDrafter>> ModelDrafter::Create(
    const Options& options, const shard_loader::Checkpoint& checkpoint, Backend* backend,
    std::atomic<uint64_t>* layers_done) {
  const shard_loader::DecoderSpec& spec = checkpoint.spec();
  if (spec.vocab_size != options.vocab_size) {
    return absl::FailedPreconditionError(
        absl::StrCat("worker: the draft model has a vocabulary of ", spec.vocab_size,
                     " ids, the model one of ", options.vocab_size, "; they must share theirs"));
  }
  ASSIGN_OR_RETURN(const std::vector<shard_loader::RankPlan> plans,
                   shard_loader::MakeRankPlans(spec, {1, 1, 1}));
  PrivateImages images;
  ASSIGN_OR_RETURN(LoadedWeights loaded,
                   LoadWeights(checkpoint, plans[0], options.dtype, images, {}));
  ASSIGN_OR_RETURN(KvCache cache,
                   KvCache::Create(spec, plans[0], options.kv_dtype, options.num_kv_blocks));
  ASSIGN_OR_RETURN(Workspace workspace,
                   Workspace::Create(plans[0], shard_loader::MakeWorkspaceLayout(
                                                   spec, plans[0], {kDraftRows, kDraftRows})));
  std::unique_ptr<ModelDrafter> drafter(new ModelDrafter(spec, plans[0], std::move(loaded.weights),
                                                         options.max_model_len, std::move(cache),
                                                         std::move(workspace)));
  drafter->backend_ = backend;
  drafter->layers_done_ = layers_done;
  const shard_loader::ByteSpan& scratch = drafter->workspace_.layout().sampling;
  drafter->sampler_ =
      std::make_unique<Sampler>(backend, spec.vocab_size, plans[0].vocab_block,
                                absl::MakeSpan(drafter->workspace_.Bytes(scratch), scratch.bytes));
  drafter->filled_.resize(options.num_kv_blocks);
  return drafter;
}

ModelDrafter::ModelDrafter(const shard_loader::DecoderSpec& spec,
                           const shard_loader::RankPlan& plan,
                           std::unique_ptr<const Weights> weights, int64_t max_model_len,
                           KvCache cache, Workspace workspace)
    : vocab_size_(spec.vocab_size),
      weight_bytes_(weights->bytes()),
      cache_(std::move(cache)),
      workspace_(std::move(workspace)),
      decoder_(spec, plan, std::move(weights), max_model_len),
      comms_(std::move(MakeLocalComms(1, 1, absl::InfiniteDuration())[0])) {}

void ModelDrafter::Follow(const StepInput& step) {
  for (const SequenceStep& entry : step.entries) {
    for (uint32_t block : entry.new_blocks) filled_[block] = 0;
  }
  for (const BlockCopy& copy : step.copies) {
    // Slots keep nothing of this cache: the guesser computes a fetched block again, from its ids.
    if (copy.kind == BlockCopy::Kind::kFetch) filled_[copy.to] = 0;
    if (copy.kind != BlockCopy::Kind::kCopy) continue;
    cache_.CopyBlock(copy.from, copy.to);
    filled_[copy.to] = filled_[copy.from];
  }
  // Of a block that is copied for a fork the end may be of its parent's tokens.
  for (const SequenceStart& start : step.starts) {
    const uint32_t last = start.cached_tokens / kKvBlockTokens;
    if (last >= start.blocks.size()) continue;
    uint8_t& filled = filled_[start.blocks[last]];
    filled = std::min(filled, static_cast<uint8_t>(start.cached_tokens % kKvBlockTokens));
  }
}

uint32_t ModelDrafter::Computed(const Sequence& sequence) const {
  uint32_t computed = 0;
  for (uint32_t block : sequence.blocks) {
    computed += filled_[block];
    if (filled_[block] < kKvBlockTokens) break;
  }
  // At least the last token, to have something to draw from.
  return std::min(computed, sequence.known() - 1);
}

absl::Status ModelDrafter::Propose(absl::Span<DraftRequest> requests) {
  std::vector<Row> rows;
  std::vector<uint32_t> known;
  for (DraftRequest& request : requests) {
    const uint32_t end = request.sequence->known();
    known.push_back(end);
    if (end > request.sequence->blocks.size() * kKvBlockTokens) continue;  // no slot for its last
    for (uint32_t position = Computed(*request.sequence); position < end; ++position) {
      rows.push_back({&request, position, position + 1 == end});
    }
  }
  absl::Status status = Compute(rows);
  while (status.ok() && !rows.empty()) {
    for (size_t r = 0; r < requests.size(); ++r) {
      // What was computed of the tokens counts; what follows it is a guess.
      const Sequence& sequence = *requests[r].sequence;
      for (size_t b = known[r] / kKvBlockTokens; b < sequence.blocks.size(); ++b) {
        const size_t tokens = std::max<size_t>(known[r], b * kKvBlockTokens) - b * kKvBlockTokens;
        uint8_t& filled = filled_[sequence.blocks[b]];
        filled = static_cast<uint8_t>(std::min<size_t>(filled, tokens));
      }
    }
    std::vector<Row> next;
    for (const Row& row : rows) {
      DraftRequest& request = *row.request;
      const Sequence& sequence = *request.sequence;
      if (!row.draws || sequence.known() != row.position + 2) continue;  // nothing was drawn
      if (request.ids.size() >= request.count || IsStop(sequence, request.ids.back())) continue;
      if (row.position + 1 >= sequence.blocks.size() * kKvBlockTokens) continue;
      next.push_back({&request, row.position + 1, true});
    }
    rows = std::move(next);
    status = Compute(rows);
  }
  for (size_t r = 0; r < requests.size(); ++r) {
    requests[r].sequence->start.token_ids.resize(known[r]);
  }
  return status;
}

absl::Status ModelDrafter::Compute(absl::Span<const Row> rows) {
  for (size_t begin = 0; begin < rows.size(); begin += kDraftRows) {
    const absl::Span<const Row> part = rows.subspan(begin, kDraftRows);
    std::vector<uint32_t> ids;
    std::vector<int32_t> positions;
    std::vector<const uint32_t*> block_tables;
    for (const Row& row : part) {
      const Sequence& sequence = *row.request->sequence;
      ids.push_back(sequence.start.token_ids[row.position]);
      positions.push_back(static_cast<int32_t>(row.position));
      block_tables.push_back(sequence.blocks.data());
    }
    Batch batch;
    batch.ids = ids.data();
    batch.rows = {static_cast<int64_t>(ids.size()), positions.data(), block_tables.data()};
    const ForwardState state = {backend_, &cache_, &workspace_, &comms_, layers_done_};
    RETURN_IF_ERROR(decoder_.Forward(batch, state));
    for (const Row& row : part) {
      filled_[row.request->sequence->blocks[row.position / kKvBlockTokens]] =
          static_cast<uint8_t>(row.position % kKvBlockTokens + 1);
    }
    RETURN_IF_ERROR(Draw(part));
  }
  return absl::OkStatus();
}

absl::Status ModelDrafter::Draw(absl::Span<const Row> rows) {
  std::vector<int32_t> drawing;
  for (size_t r = 0; r < rows.size(); ++r) {
    if (rows[r].draws) drawing.push_back(static_cast<int32_t>(r));
  }
  const ForwardState state = {backend_, &cache_, &workspace_, &comms_, layers_done_};
  const size_t chunk = static_cast<size_t>(workspace_.layout().logit_rows);
  const float* logits = workspace_.At(workspace_.layout().logits);
  for (size_t begin = 0; begin < drawing.size(); begin += chunk) {
    const auto part = absl::MakeConstSpan(drawing).subspan(begin, chunk);
    RETURN_IF_ERROR(decoder_.Logits(part, state));
    for (size_t i = 0; i < part.size(); ++i) {
      DraftRequest& request = *rows[part[i]].request;
      const float* row = logits + i * vocab_size_;
      // Where the draft's own logits are no numbers, or nothing may be drawn, there is no guess.
      if (!sampler_->LogSumExp(row).ok()) continue;
      const absl::StatusOr<uint32_t> id = sampler_->Draw(row, ContextOf(*request.sequence));
      if (!id.ok()) continue;
      request.ids.push_back(*id);
      request.sequence->start.token_ids.push_back(*id);
    }
  }
  return absl::OkStatus();
}

}  // namespace tessera::worker
