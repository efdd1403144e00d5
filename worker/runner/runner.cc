#include "worker/runner/runner.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "shard_loader/mutex.h"
#include "shard_loader/plan/workspace.h"
#include "shard_loader/status_macros.h"
#include "worker/backend/backend.h"
#include "worker/backend/kernel_sets.h"
#include "worker/backend/reordered_backend.h"
#include "worker/model/decoder.h"
#include "worker/model/load_weights.h"
#include "worker/model/residual_trace.h"
#include "worker/runner/error_site.h"
#include "worker/runner/ids_hash.h"
#include "worker/runner/sequences.h"
#include "worker/sampling/sampler.h"
#include "worker/tensor/hash.h"
#include "worker/tensor/thread_pool.h"

namespace tessera::worker {
namespace {

Token MakeToken(uint32_t id, const Logprobs& logprobs) {
  Token token;
  token.id = id;
  token.logprob = logprobs.chosen;
  for (const RankedId& each : logprobs.top) token.top.push_back({each.id, each.logprob});
  return token;
}

absl::Status CheckOptions(const RunnerOptions& options) {
  if (options.max_num_batched_tokens == 0 || options.max_num_seqs == 0 ||
      options.max_model_len == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "worker: max_num_batched_tokens ", options.max_num_batched_tokens, ", max_num_seqs ",
        options.max_num_seqs, " and max_model_len ", options.max_model_len, " must be at least 1"));
  }
  if (options.spec.attention.head_size > kMaxHeadSize ||
      options.spec.attention.head_size % 2 != 0) {
    return absl::InvalidArgumentError(absl::StrCat("worker: head size ",
                                                   options.spec.attention.head_size,
                                                   " is not an even number up to ", kMaxHeadSize));
  }
  return absl::OkStatus();
}

// The rows of a step: the tokens of all its work, side by side.
struct StepRows {
  std::vector<uint32_t> ids;
  std::vector<int32_t> positions;
  std::vector<const uint32_t*> block_tables;
  // Those whose logits are needed: row of the batch, and the work that it belongs to.
  std::vector<int32_t> logit_rows;
  std::vector<size_t> logit_work;
};

std::vector<uint64_t> SequencesByRow(const std::vector<SequenceWork>& work) {
  std::vector<uint64_t> sequences;
  for (const SequenceWork& each : work) {
    sequences.insert(sequences.end(), each.end - each.begin, each.sequence->start.sequence);
  }
  return sequences;
}

StepRows LayOut(const std::vector<SequenceWork>& work) {
  StepRows rows;
  for (size_t w = 0; w < work.size(); ++w) {
    const Sequence& sequence = *work[w].sequence;
    const uint32_t prompt_rows_end = work[w].prompt_rows_end();
    for (uint32_t position = work[w].begin; position < work[w].end; ++position) {
      if (position < prompt_rows_end || (work[w].draws && position + 1 == work[w].end)) {
        rows.logit_rows.push_back(static_cast<int32_t>(rows.ids.size()));
        rows.logit_work.push_back(w);
      }
      rows.ids.push_back(sequence.start.token_ids[position]);
      rows.positions.push_back(static_cast<int32_t>(position));
      rows.block_tables.push_back(sequence.blocks.data());
    }
  }
  return rows;
}

}  // namespace

class Runner::Impl {
 public:
  Impl(const RunnerOptions& options, std::unique_ptr<Backend> backend, KvCache cache,
       Workspace workspace, const SequenceLimits& limits)
      : options_(options),
        backend_(std::move(backend)),
        cache_(std::move(cache)),
        workspace_(std::move(workspace)),
        sequences_(limits) {
    const shard_loader::WorkspaceLayout& layout = workspace_.layout();
    if (layout.sampling.bytes > 0) {
      sampler_.emplace(backend_.get(), options.spec.vocab_size, options.plan.vocab_block,
                       absl::MakeSpan(workspace_.Bytes(layout.sampling), layout.sampling.bytes));
    }
  }

  absl::Status Load(const shard_loader::Checkpoint& checkpoint, const LoadProgress& progress);
  absl::Status Connect(GroupComms comms);
  absl::StatusOr<StepOutput> Run(const StepInput& step);
  void Abort(const absl::Status& why);

  const RunnerOptions options_;
  std::string kernels_;
  int threads_ = 1;
  RunnerMemory memory_;
  std::unique_ptr<ResidualTrace> trace_;  // or null
  std::atomic<uint64_t> layers_done_{0};

 private:
  absl::StatusOr<StepOutput> RunStep(const StepInput& step);
  // Draws and reports for all rows that need logits; `records` is by work.
  absl::Status Sample(const std::vector<SequenceWork>& work, const StepRows& rows,
                      const ForwardState& state, std::vector<SequenceResult>* results,
                      std::vector<DrawRecord>* records);
  void SampleRow(const SequenceWork& work, uint32_t position, const float* logits,
                 SequenceResult* result, DrawRecord* record);
  absl::StatusOr<uint32_t> DrawNext(const Sequence& sequence, const float* logits);
  // Sends the records of the work that needed logits to all ranks.
  absl::Status ShareRecords(uint64_t step, const std::vector<SequenceWork>& work,
                            std::vector<DrawRecord>* records);

  int drawing_rank() const { return (options_.plan.layout.pp - 1) * options_.plan.layout.tp; }
  bool draws() const { return options_.plan.rank == drawing_rank(); }

  std::unique_ptr<Backend> backend_;
  KvCache cache_;
  Workspace workspace_;
  SequenceTable sequences_;
  std::optional<Sampler> sampler_;
  std::unique_ptr<Decoder> decoder_;
  absl::Status broken_;

  Mutex mutex_;  // orders Abort and Connect; the communicators' own Abort is thread-safe
  GroupComms comms_;
  absl::Status aborted_ ABSL_GUARDED_BY(mutex_);
};

absl::Status Runner::Impl::Load(const shard_loader::Checkpoint& checkpoint,
                                const LoadProgress& progress) {
  PrivateImages private_images;
  WeightImages& images = options_.images == nullptr ? private_images : *options_.images;
  ASSIGN_OR_RETURN(LoadedWeights loaded,
                   LoadWeights(checkpoint, options_.plan, options_.dtype, images,
                               {.threads = threads_, .progress = progress}));
  memory_.bytes_read = loaded.bytes_read;
  memory_.weight_bytes = loaded.weights->bytes();
  memory_.workspace_bytes = workspace_.layout().bytes();
  memory_.kv_bytes = cache_.bytes();
  decoder_ = std::make_unique<Decoder>(options_.spec, options_.plan, std::move(loaded.weights));
  return absl::OkStatus();
}

absl::Status Runner::Impl::Connect(GroupComms comms) {
  const shard_loader::RankPlan& plan = options_.plan;
  if (comms.group == nullptr || comms.tensor == nullptr || comms.group->rank() != plan.rank ||
      comms.group->size() != plan.layout.tp * plan.layout.pp ||
      comms.tensor->rank() != plan.tp_index || comms.tensor->size() != plan.layout.tp) {
    return absl::InvalidArgumentError(
        absl::StrCat("worker: the communicators are not those of rank ", plan.rank, " of tp ",
                     plan.layout.tp, " x pp ", plan.layout.pp));
  }
  MutexLock lock(mutex_);
  RETURN_IF_ERROR(aborted_);
  comms_ = std::move(comms);
  return absl::OkStatus();
}

void Runner::Impl::Abort(const absl::Status& why) {
  MutexLock lock(mutex_);
  if (aborted_.ok()) aborted_ = absl::CancelledError(why.message());
  if (comms_.group != nullptr) comms_.group->Abort(why);
  if (comms_.tensor != nullptr) comms_.tensor->Abort(why);
}

absl::StatusOr<StepOutput> Runner::Impl::Run(const StepInput& step) {
  {
    MutexLock lock(mutex_);
    RETURN_IF_ERROR(aborted_);
    if (comms_.group == nullptr) {
      return absl::InternalError("worker: a step came before the ranks were connected");
    }
  }
  RETURN_IF_ERROR(broken_);
  return RunStep(step);
}

absl::StatusOr<StepOutput> Runner::Impl::RunStep(const StepInput& step) {
  absl::StatusOr<std::vector<SequenceWork>> begun = sequences_.Begin(step);
  if (!begun.ok()) return At(begun.status());
  std::vector<SequenceWork> work = *std::move(begun);
  for (const BlockCopy& copy : step.copies) cache_.CopyBlock(copy.from, copy.to);
  StepOutput output;
  output.step = step.step;
  IdsHash hash;
  std::vector<SequenceResult> results(work.size());
  std::vector<DrawRecord> records(work.size());
  if (!work.empty()) {
    const StepRows rows = LayOut(work);
    Batch batch;
    batch.step = step.step;
    batch.ids = rows.ids.data();
    batch.rows = {static_cast<int64_t>(rows.ids.size()), rows.positions.data(),
                  rows.block_tables.data()};
    const ForwardState state = {backend_.get(), &cache_,       &workspace_,
                                &comms_,        &layers_done_, trace_.get()};
    if (trace_ != nullptr) trace_->Begin(SequencesByRow(work));
    broken_ = At(decoder_->Forward(batch, state));
    if (trace_ != nullptr) trace_->Flush();
    if (broken_.ok() && step.hash_residual) {
      output.residual_hash = HashFloats(workspace_.At(workspace_.layout().residual),
                                        rows.ids.size() * options_.spec.hidden_size);
    }
    if (broken_.ok()) broken_ = At(Sample(work, rows, state, &results, &records));
    if (broken_.ok()) broken_ = At(ShareRecords(step.step, work, &records));
    RETURN_IF_ERROR(broken_);
  }
  for (size_t w = 0; w < work.size(); ++w) {
    const Sequence& sequence = *work[w].sequence;
    sequences_.Advance(work[w], records[w]);
    if (records[w].outcome == DrawRecord::kDrawn) {
      hash.Add(sequence.start.sequence, records[w].id);
    }
    results[w].sequence = sequence.start.sequence;
    results[w].admission = sequence.start.admission;
    results[w].finish = sequence.finish;
  }
  output.ids_hash = hash.value();
  if (draws()) output.results = std::move(results);
  return output;
}

absl::Status Runner::Impl::Sample(const std::vector<SequenceWork>& work, const StepRows& rows,
                                  const ForwardState& state, std::vector<SequenceResult>* results,
                                  std::vector<DrawRecord>* records) {
  if (!options_.plan.has_head) return absl::OkStatus();
  const size_t chunk = static_cast<size_t>(workspace_.layout().logit_rows);
  const float* logits = workspace_.At(workspace_.layout().logits);
  for (size_t begin = 0; begin < rows.logit_rows.size(); begin += chunk) {
    const size_t count = std::min(chunk, rows.logit_rows.size() - begin);
    RETURN_IF_ERROR(
        decoder_->Logits(absl::MakeConstSpan(rows.logit_rows).subspan(begin, count), state));
    for (size_t i = begin; draws() && i < begin + count; ++i) {
      const size_t w = rows.logit_work[i];
      SampleRow(work[w], static_cast<uint32_t>(rows.positions[rows.logit_rows[i]]),
                logits + (i - begin) * options_.spec.vocab_size, &(*results)[w], &(*records)[w]);
    }
  }
  return absl::OkStatus();
}

void Runner::Impl::SampleRow(const SequenceWork& work, uint32_t position, const float* logits,
                             SequenceResult* result, DrawRecord* record) {
  if (record->outcome == DrawRecord::kFailed) return;
  const SequenceStart& start = work.sequence->start;
  const absl::StatusOr<double> log_sum = sampler_->LogSumExp(logits);
  absl::Status failure = log_sum.status();
  if (failure.ok() && position < work.prompt_rows_end()) {
    const uint32_t id = start.token_ids[position + 1];
    if (result->prompt_tokens.empty()) result->prompt_position = position + 1;
    result->prompt_tokens.push_back(
        MakeToken(id, sampler_->LogprobsOf(logits, *log_sum, id, *start.prompt_logprobs)));
  }
  if (failure.ok() && work.draws && position + 1 == work.end) {
    const absl::StatusOr<uint32_t> id = DrawNext(*work.sequence, logits);
    failure = id.status();
    if (id.ok()) {
      *record = {DrawRecord::kDrawn, *id};
      result->tokens.push_back(
          MakeToken(*id, sampler_->LogprobsOf(logits, *log_sum, *id, start.logprobs.value_or(0))));
    }
  }
  if (!failure.ok()) {
    *record = {DrawRecord::kFailed, 0};
    result->error = std::string(failure.message());
    result->nothing_to_draw = absl::IsFailedPrecondition(failure);
  }
}

absl::StatusOr<uint32_t> Runner::Impl::DrawNext(const Sequence& sequence, const float* logits) {
  DrawContext context;
  context.ids = sequence.start.token_ids;
  context.prompt_length = sequence.start.prompt_length;
  context.sequence_index = sequence.start.index;
  if (sequence.generated() < sequence.start.min_tokens) {
    context.masked_ids = sequence.start.stop_token_ids;
  }
  context.restrictions = &sequence.start.restrictions;
  context.params = sequence.start.sampling;
  return sampler_->Draw(logits, context);
}

absl::Status Runner::Impl::ShareRecords(uint64_t step, const std::vector<SequenceWork>& work,
                                        std::vector<DrawRecord>* records) {
  if (comms_.group->size() == 1) return absl::OkStatus();
  std::vector<DrawRecord> shared;
  for (size_t w = 0; w < work.size(); ++w) {
    if (work[w].needs_logits()) shared.push_back((*records)[w]);
  }
  if (shared.empty()) return absl::OkStatus();
  const absl::Span<std::byte> bytes(reinterpret_cast<std::byte*>(shared.data()),
                                    shared.size() * sizeof(DrawRecord));
  if (!draws()) {
    RETURN_IF_ERROR(comms_.group->Recv(drawing_rank(), step, bytes));
  } else {
    for (int rank = 0; rank < comms_.group->size(); ++rank) {
      if (rank != drawing_rank()) RETURN_IF_ERROR(comms_.group->Send(rank, step, bytes));
    }
  }
  auto next = shared.begin();
  for (size_t w = 0; w < work.size(); ++w) {
    if (work[w].needs_logits()) (*records)[w] = *next++;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Runner>> Runner::Create(const RunnerOptions& options,
                                                       const shard_loader::Checkpoint& checkpoint,
                                                       const LoadProgress& progress) {
  RETURN_IF_ERROR(CheckOptions(options));
  ASSIGN_OR_RETURN(const std::string kernels, ResolveKernelSet(options.kernels));
  const int threads = options.threads > 0 ? options.threads : AvailableCpus();
  ASSIGN_OR_RETURN(std::unique_ptr<Backend> backend, MakeBackend(kernels, threads));
  if (options.test_reorder_from) {
    backend = std::make_unique<ReorderedBackend>(std::move(backend), *options.test_reorder_from);
  }
  ASSIGN_OR_RETURN(KvCache cache, KvCache::Create(options.spec, options.plan, options.kv_dtype,
                                                  options.num_kv_blocks));
  const shard_loader::WorkspaceLayout layout = shard_loader::MakeWorkspaceLayout(
      options.spec, options.plan, {options.max_num_batched_tokens, options.max_num_seqs});
  ASSIGN_OR_RETURN(Workspace workspace, Workspace::Create(options.plan, layout));
  SequenceLimits limits;
  limits.vocab_size = static_cast<uint32_t>(options.spec.vocab_size);
  limits.block_tokens = shard_loader::kKvBlockTokens;
  limits.num_kv_blocks = options.num_kv_blocks;
  limits.max_model_len = options.max_model_len;
  limits.max_num_batched_tokens = options.max_num_batched_tokens;
  limits.max_num_seqs = options.max_num_seqs;
  limits.max_logprobs = options.max_logprobs;
  auto impl = std::make_unique<Impl>(options, std::move(backend), std::move(cache),
                                     std::move(workspace), limits);
  impl->kernels_ = kernels;
  impl->threads_ = threads;
  if (!options.trace_file.empty()) {
    ASSIGN_OR_RETURN(impl->trace_, ResidualTrace::Open(options.trace_file));
  }
  RETURN_IF_ERROR(impl->Load(checkpoint, progress));
  return std::unique_ptr<Runner>(new Runner(std::move(impl)));
}

Runner::Runner(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Runner::~Runner() = default;

absl::Status Runner::Connect(GroupComms comms) { return impl_->Connect(std::move(comms)); }
absl::StatusOr<StepOutput> Runner::Run(const StepInput& step) { return impl_->Run(step); }
uint64_t Runner::progress() const { return impl_->layers_done_.load(std::memory_order_relaxed); }
void Runner::Abort(const absl::Status& why) { impl_->Abort(why); }
const RunnerMemory& Runner::memory() const { return impl_->memory_; }
const std::string& Runner::kernels() const { return impl_->kernels_; }
int Runner::threads() const { return impl_->threads_; }

}  // namespace tessera::worker
