#include "worker/runner/model_drafter.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "shard_loader/plan/rank_plan.h"
#include "shard_loader/plan/workspace.h"
#include "shard_loader/status_macros.h"
#include "worker/comm/local_communicator.h"
#include "worker/model/load_weights.h"
#include "worker/runner/device_sampler.h"
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
  Memory& memory = backend->memory();
  PrivateImages images;
  ASSIGN_OR_RETURN(LoadedWeights loaded,
                   LoadWeights(checkpoint, plans[0], options.dtype, images, {}, memory));
  ASSIGN_OR_RETURN(KvCache cache, KvCache::Create(spec, plans[0], options.kv_dtype,
                                                  options.num_kv_blocks, memory));
  const shard_loader::WorkspaceLayout layout =
      shard_loader::MakeWorkspaceLayout(spec, plans[0], {kDraftRows, kDraftRows});
  ASSIGN_OR_RETURN(Workspace workspace, Workspace::Create(plans[0], layout, memory));
  std::unique_ptr<ModelDrafter> drafter(new ModelDrafter(spec, plans[0], std::move(loaded.weights),
                                                         options.max_model_len, std::move(cache),
                                                         std::move(workspace)));
  drafter->backend_ = backend;
  drafter->layers_done_ = layers_done;
  std::byte* scratch = drafter->workspace_.Bytes(layout.sampling);
  if (!memory.on_host()) {
    ASSIGN_OR_RETURN(drafter->side_, HostSide::Create(&memory, layout));
    scratch = drafter->side_->sampling();
    backend = &drafter->side_->backend();
  }
  drafter->sampler_ = std::make_unique<Sampler>(backend, spec.vocab_size, plans[0].vocab_block,
                                                absl::MakeSpan(scratch, layout.sampling.bytes));
  drafter->filled_.resize(options.num_kv_blocks);
  return drafter;
}

ModelDrafter::ModelDrafter(const shard_loader::DecoderSpec& spec,
                           const shard_loader::RankPlan& plan,
                           std::unique_ptr<const Weights> weights, int64_t max_model_len,
                           KvCache cache, Workspace workspace)
    : vocab_size_(spec.vocab_size),
      vocab_block_(plan.vocab_block),
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
    std::vector<const Row*> drawn;
    for (const int32_t row : part) drawn.push_back(&rows[row]);
    if (side_ != nullptr) {
      RETURN_IF_ERROR(DrawOnDevice(drawn, logits));
      continue;
    }
    for (size_t i = 0; i < drawn.size(); ++i) {
      DrawHere(logits + i * vocab_size_, drawn[i]->request);
    }
  }
  return absl::OkStatus();
}

absl::Status ModelDrafter::DrawOnDevice(absl::Span<const Row* const> rows, const float* logits) {
  std::vector<DrawRow> draws;
  std::vector<DraftRequest*> requests;
  std::deque<std::vector<uint32_t>> forbidden;  // whose elements stay where they are
  for (size_t i = 0; i < rows.size(); ++i) {
    DraftRequest* const request = rows[i]->request;
    const DrawContext context = ContextOf(*request->sequence);
    if (backend_->drawer() == nullptr || context.params.typical_p < 1.0f) {
      ASSIGN_OR_RETURN(const float* const here,
                       side_->Bring(logits + static_cast<int64_t>(i) * vocab_size_, vocab_size_));
      DrawHere(here, request);
      continue;
    }
    requests.push_back(request);
    draws.emplace_back();
    draws.back().row = static_cast<int64_t>(i);
    AskDraw(context, vocab_size_, &forbidden.emplace_back(), &draws.back());
  }
  if (draws.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(backend_->drawer()->Start(
      {logits, static_cast<int64_t>(rows.size()), vocab_size_, vocab_block_}, draws));
  ASSIGN_OR_RETURN(const std::vector<DrawnRow> drawn, backend_->drawer()->Collect());
  for (size_t i = 0; i < drawn.size(); ++i) {
    if (drawn[i].outcome == DrawnRow::Outcome::kDrawn) Take(drawn[i].id, requests[i]);
  }
  return absl::OkStatus();
}

void ModelDrafter::DrawHere(const float* logits, DraftRequest* request) {
  // Where the draft's own logits are no numbers, or nothing may be drawn, there is no guess.
  if (!sampler_->LogSumExp(logits).ok()) return;
  const absl::StatusOr<uint32_t> id = sampler_->Draw(logits, ContextOf(*request->sequence));
  if (id.ok()) Take(*id, request);
}

void ModelDrafter::Take(uint32_t id, DraftRequest* request) {
  request->ids.push_back(id);
  request->sequence->start.token_ids.push_back(id);
}

}  // namespace tessera::worker
