#include "worker/runner/runner.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>
#include <optional>
#include <unordered_set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "shard_loader/mutex.h"
#include "shard_loader/plan/device_scratch.h"
#include "shard_loader/plan/workspace.h"
#include "shard_loader/status_macros.h"
#include "worker/backend/backend.h"
#include "worker/backend/graph_rows.h"
#include "worker/backend/kernel_sets.h"
#include "worker/backend/reordered_backend.h"
#include "worker/model/decoder.h"
#include "worker/model/kv_slots.h"
#include "worker/model/load_weights.h"
#include "worker/model/residual_trace.h"
#include "worker/model/staged_communicator.h"
#include "worker/runner/device_sampler.h"
#include "worker/runner/drafter.h"
#include "worker/runner/draw_records.h"
#include "worker/runner/error_site.h"
#include "worker/runner/host_side.h"
#include "worker/runner/ids_hash.h"
#include "worker/runner/lagged_step.h"
#include "worker/runner/model_drafter.h"
#include "worker/runner/sequences.h"
#include "worker/runner/step_sampler.h"
#include "worker/sampling/sampler.h"
#include "worker/tensor/cpus.h"
#include "worker/tensor/hash.h"
#include "worker/tensor/thread_pool.h"

namespace tessera::worker {
namespace {

absl::Status CheckOptions(const RunnerOptions& options) {
  const SpeculationOptions& speculation = options.speculation;
  if (speculation.num_tokens > kMaxSpeculativeTokens || speculation.ngram_min == 0 ||
      speculation.ngram_min > speculation.ngram_max) {
    return absl::InvalidArgumentError(absl::StrCat(
        "worker: ", speculation.num_tokens, " guessed tokens from runs of ", speculation.ngram_min,
        " to ", speculation.ngram_max, " ids; expected at most ", kMaxSpeculativeTokens,
        " tokens, and runs of at least 1"));
  }
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

// What still works in the host's memory is refused on a device, by name.
absl::Status CheckDevice(const RunnerOptions& options, const Memory& memory) {
  if (memory.on_host()) return absl::OkStatus();
  const char* what = nullptr;
  if (options.test_reorder_from) what = "a changed order";
  if (!options.trace_file.empty()) what = "a trace of the residual";
  if (what == nullptr) return absl::OkStatus();
  return absl::UnimplementedError(
      absl::StrCat("worker: ", what, " is not there on a device; use --device cpu"));
}

// The rows of a step: the tokens of all its work, drafts behind the others, side by side.
struct StepRows {
  void Add(const Sequence& sequence, uint32_t position, uint32_t id) {
    ids.push_back(id);
    positions.push_back(static_cast<int32_t>(position));
    block_tables.push_back(sequence.blocks.data());
  }
  // What `count` of logit_rows are of, from `begin` on.
  std::vector<LogitRow> Logits(size_t begin, size_t count) const {
    std::vector<LogitRow> of;
    for (size_t i = begin; i < begin + count; ++i) {
      of.push_back({logit_work[i], static_cast<uint32_t>(positions[logit_rows[i]])});
    }
    return of;
  }

  std::vector<uint32_t> ids;
  std::vector<int32_t> positions;
  std::vector<const uint32_t*> block_tables;
  // Those whose logits are needed: row of the batch, and the work that it belongs to.
  std::vector<int32_t> logit_rows;
  std::vector<size_t> logit_work;
  bool single_tokens = false;  // one row for every piece of work, and padding
};

// A step of a sequence that a device draws for, in one row of logits.
bool CanLag(const SequenceStart& start) {
  return !start.prompt_logprobs.has_value() && DeviceSampler::CanDraw(start);
}

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
      rows.Add(sequence, position, sequence.start.token_ids[position]);
    }
    for (uint32_t draft = 0; draft < work[w].num_drafts; ++draft) {
      rows.logit_rows.push_back(static_cast<int32_t>(rows.ids.size()));
      rows.logit_work.push_back(w);
      rows.Add(sequence, work[w].end + draft, sequence.drafts[draft]);
    }
  }
  rows.single_tokens = rows.ids.size() == work.size();
  return rows;
}

// Brings a step of single tokens to one of the sizes that a device records.
void Pad(int64_t max_rows, StepRows* rows) {
  const int64_t padded =
      rows->single_tokens ? GraphRows(static_cast<int64_t>(rows->ids.size()), max_rows) : 0;
  rows->single_tokens = padded > 0;
  if (padded == 0) return;
  rows->ids.resize(padded, 0);
  rows->positions.resize(padded, -1);
  rows->block_tables.resize(padded, nullptr);
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
        sequences_(limits) {}

  absl::Status Load(const shard_loader::Checkpoint& checkpoint, const LoadProgress& progress);
  // On the rank that draws.
  absl::Status MakeSampler();
  absl::Status Connect(GroupComms comms, DeviceComms device);
  // Append to `done` what is complete.
  absl::Status RunAhead(const StepInput& step, std::vector<StepOutput>* done);
  absl::Status Settle(size_t count, std::vector<StepOutput>* done);
  // What Settle and the step that waits for its tokens leave open.
  absl::Status SettleAll(std::vector<StepOutput>* done);
  size_t num_open() const { return open_.size() + (lagged_.has_value() ? 1 : 0); }
  void Abort(const absl::Status& why);
  Memory& backend_memory() { return backend_->memory(); }

  const RunnerOptions options_;
  std::string kernels_;
  int threads_ = 1;
  RunnerMemory memory_;
  std::unique_ptr<ResidualTrace> trace_;  // or null
  std::atomic<uint64_t> layers_done_{0};

 private:
  // Null where nothing is guessed.
  absl::StatusOr<std::unique_ptr<Drafter>> MakeDrafter();
  // Of the step's own rows, without padding.
  absl::Status HashResidual(int64_t num_rows, uint64_t* hash);
  // A step that has been computed, on a rank that does not draw.
  struct OpenStep {
    uint64_t step = 0;
    std::vector<SequenceWork> work;  // that needed logits: what was drawn is not known
    size_t bytes = 0;                // that the drawing rank sends of it
    uint64_t residual_hash = 0;
  };

  absl::Status CheckReady();
  absl::Status RunStep(const StepInput& step, std::vector<StepOutput>* done);
  absl::Status MakeSlots();
  absl::Status RunCopies(const std::vector<BlockCopy>& copies);
  // Whether a step's tokens can be drawn, all in one, while the next is computed.
  bool CanLag(const StepInput& step) const;
  absl::Status Lag(uint64_t step, std::vector<SequenceWork> work, const StepRows& rows,
                   const ForwardState& state, std::vector<StepOutput>* done);
  // The lagged step's tokens. `next`: the step behind it, or null.
  absl::Status ConcludeLagged(LaggedStep* next, std::vector<StepOutput>* done);
  // Settles what has to be known before `step`.
  absl::Status SettleFor(const StepInput& step, std::vector<StepOutput>* done);
  StepOutput Conclude(uint64_t step, const std::vector<SequenceWork>& work,
                      const std::vector<DrawRecord>& records, std::vector<SequenceResult> results);
  // Of a message with the records of so many pieces of work, at most, as kEagerBytes counts it.
  size_t RecordBytes(size_t work) const;
  // Draws and reports for all rows that need logits; `records` is by work.
  absl::Status Sample(const std::vector<SequenceWork>& work, const StepRows& rows,
                      const ForwardState& state, std::vector<SequenceResult>* results,
                      std::vector<DrawRecord>* records);
  // Sends the records of the work that needed logits to all ranks.
  absl::Status ShareRecords(uint64_t step, const std::vector<SequenceWork>& work,
                            std::vector<DrawRecord>* records);

  int drawing_rank() const { return (options_.plan.layout.pp - 1) * options_.plan.layout.tp; }
  bool draws() const { return options_.plan.rank == drawing_rank(); }

  std::unique_ptr<Backend> backend_;
  // Where the backend computes in memory of its own: the host's side of it.
  std::unique_ptr<HostSide> host_side_;
  KvCache cache_;
  std::unique_ptr<KvSlots> slots_;  // null: there are none
  Workspace workspace_;
  SequenceTable sequences_;
  std::optional<StepSampler> sampler_;           // of the rank that draws
  std::optional<DeviceSampler> device_sampler_;  // likewise, where a device holds the logits
  std::unique_ptr<Decoder> decoder_;
  absl::Status broken_;
  std::optional<LaggedStep> lagged_;
  std::deque<OpenStep> open_;
  size_t open_bytes_ = 0;

  Mutex mutex_;  // orders Abort and Connect; the communicators' own Abort is thread-safe
  GroupComms comms_;
  DeviceComms device_comms_;  // of the backend's memory, where it is not the host's
  absl::Status aborted_ ABSL_GUARDED_BY(mutex_);
};

absl::Status Runner::Impl::Load(const shard_loader::Checkpoint& checkpoint,
                                const LoadProgress& progress) {
  PrivateImages private_images;
  WeightImages& images = options_.images == nullptr ? private_images : *options_.images;
  ASSIGN_OR_RETURN(LoadedWeights loaded,
                   LoadWeights(checkpoint, options_.plan, options_.dtype, images,
                               {.threads = threads_, .progress = progress}, backend_->memory()));
  memory_.bytes_read = loaded.bytes_read;
  memory_.weight_bytes = loaded.weights->bytes();
  memory_.workspace_bytes += workspace_.layout().bytes();
  memory_.kv_bytes = cache_.bytes();
  decoder_ = std::make_unique<Decoder>(options_.spec, options_.plan, std::move(loaded.weights),
                                       options_.max_model_len);
  return MakeSlots();
}

absl::Status Runner::Impl::MakeSlots() {
  if (options_.num_kv_slots == 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(slots_,
                   KvSlots::Create(&cache_, options_.num_kv_slots, options_.kv_offload_dir));
  ASSIGN_OR_RETURN(memory_.kv_fetch_time, slots_->MeasureFetch());
  return absl::OkStatus();
}

absl::Status Runner::Impl::RunCopies(const std::vector<BlockCopy>& copies) {
  for (const BlockCopy& copy : copies) {
    if (copy.kind == BlockCopy::Kind::kSpill) {
      RETURN_IF_ERROR(slots_->Spill(copy.from, copy.to));
    } else if (copy.kind == BlockCopy::Kind::kFetch) {
      RETURN_IF_ERROR(slots_->Fetch(copy.from, copy.to));
    } else {
      cache_.CopyBlock(copy.from, copy.to);
    }
  }
  return absl::OkStatus();
}

absl::Status Runner::Impl::MakeSampler() {
  if (!backend_->memory().on_host()) {
    ASSIGN_OR_RETURN(host_side_, HostSide::Create(&backend_->memory(), workspace_.layout()));
  }
  if (!draws()) return absl::OkStatus();
  ASSIGN_OR_RETURN(std::unique_ptr<Drafter> drafter, MakeDrafter());
  const shard_loader::ByteSpan& span = workspace_.layout().sampling;
  const bool on_host = host_side_ == nullptr;
  std::byte* scratch = on_host ? workspace_.Bytes(span) : host_side_->sampling();
  sampler_.emplace(
      Sampler(on_host ? backend_.get() : &host_side_->backend(), options_.spec.vocab_size,
              options_.plan.vocab_block, absl::MakeSpan(scratch, span.bytes)),
      std::move(drafter), options_.speculation.num_tokens);
  if (backend_->drawer() != nullptr) {
    device_sampler_.emplace(backend_->drawer(), host_side_.get(), &*sampler_,
                            options_.spec.vocab_size, options_.plan.vocab_block);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Drafter>> Runner::Impl::MakeDrafter() {
  const SpeculationOptions& speculation = options_.speculation;
  if (speculation.num_tokens == 0) return nullptr;
  if (speculation.draft == nullptr) {
    return std::make_unique<NgramDrafter>(speculation.ngram_min, speculation.ngram_max);
  }
  const ModelDrafter::Options options{.vocab_size = options_.spec.vocab_size,
                                      .dtype = options_.dtype,
                                      .kv_dtype = options_.kv_dtype,
                                      .num_kv_blocks = options_.num_kv_blocks,
                                      .max_model_len = options_.max_model_len};
  ASSIGN_OR_RETURN(
      std::unique_ptr<ModelDrafter> drafter,
      ModelDrafter::Create(options, *speculation.draft, backend_.get(), &layers_done_));
  memory_.weight_bytes += drafter->weight_bytes();
  memory_.workspace_bytes += drafter->workspace_bytes();
  memory_.kv_bytes += drafter->kv_bytes();
  return drafter;
}

absl::Status Runner::Impl::Connect(GroupComms comms, DeviceComms device) {
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
  device_comms_ = std::move(device);
  if (host_side_ != nullptr && device_comms_.comms.group == nullptr) {
    device_comms_.comms.group = StageThroughHost(comms_.group.get(), &backend_->memory());
    device_comms_.comms.tensor = StageThroughHost(comms_.tensor.get(), &backend_->memory());
  }
  return absl::OkStatus();
}

void Runner::Impl::Abort(const absl::Status& why) {
  MutexLock lock(mutex_);
  if (aborted_.ok()) aborted_ = absl::CancelledError(why.message());
  if (device_comms_.comms.group != nullptr) device_comms_.comms.group->Abort(why);
  if (comms_.group != nullptr) comms_.group->Abort(why);
  if (comms_.tensor != nullptr) comms_.tensor->Abort(why);
}

absl::Status Runner::Impl::CheckReady() {
  MutexLock lock(mutex_);
  RETURN_IF_ERROR(aborted_);
  if (comms_.group == nullptr) {
    return absl::InternalError("worker: a step came before the ranks were connected");
  }
  return broken_;
}

absl::Status Runner::Impl::RunAhead(const StepInput& step, std::vector<StepOutput>* done) {
  RETURN_IF_ERROR(CheckReady());
  if (lagged_.has_value() && !(CanLag(step) && lagged_->CanBeFollowedBy(step))) {
    RETURN_IF_ERROR(ConcludeLagged(nullptr, done));
  }
  RETURN_IF_ERROR(SettleFor(step, done));
  RETURN_IF_ERROR(RunStep(step, done));
  // More than may be on its way without holding up the sender, who others may be waiting for.
  if (open_bytes_ > kEagerBytes) return Settle(open_.size(), done);
  size_t complete = 0;
  while (complete < open_.size() && open_[complete].work.empty()) ++complete;
  return Settle(complete, done);
}

size_t Runner::Impl::RecordBytes(size_t work) const {
  // A header of three words, and room for a token, the drafts taken and the drafts to come.
  return 16 + work * sizeof(uint32_t) * (4 + 2 * size_t{options_.speculation.num_tokens});
}

absl::Status Runner::Impl::SettleFor(const StepInput& step, std::vector<StepOutput>* done) {
  if (open_.empty()) return absl::OkStatus();
  std::unordered_set<uint64_t> touched(step.ends.begin(), step.ends.end());
  for (const SequenceStep& entry : step.entries) touched.insert(entry.sequence);
  size_t needed = open_.size();
  auto touches = [&touched](const SequenceWork& work) {
    return touched.count(work.sequence->start.sequence) > 0;
  };
  while (needed > 0 &&
         std::none_of(open_[needed - 1].work.begin(), open_[needed - 1].work.end(), touches)) {
    --needed;
  }
  const size_t own = RecordBytes(step.entries.size());
  size_t bytes = open_bytes_;
  for (size_t i = 0; i < open_.size() && (i < needed || bytes + own > kEagerBytes); ++i) {
    bytes -= open_[i].bytes;
    needed = std::max(needed, i + 1);
  }
  return Settle(needed, done);
}

absl::Status Runner::Impl::Settle(size_t count, std::vector<StepOutput>* done) {
  RETURN_IF_ERROR(CheckReady());
  for (; count > 0; --count) {
    const OpenStep open = std::move(open_.front());
    open_.pop_front();
    open_bytes_ -= open.bytes;
    std::vector<DrawRecord> records(open.work.size());
    broken_ = At(ShareRecords(open.step, open.work, &records));
    RETURN_IF_ERROR(broken_);
    done->push_back(Conclude(open.step, open.work, records, {}));
    done->back().residual_hash = open.residual_hash;
  }
  return absl::OkStatus();
}

absl::Status Runner::Impl::SettleAll(std::vector<StepOutput>* done) {
  RETURN_IF_ERROR(CheckReady());
  if (lagged_.has_value()) RETURN_IF_ERROR(ConcludeLagged(nullptr, done));
  return Settle(open_.size(), done);
}

bool Runner::Impl::CanLag(const StepInput& step) const {
  if (!device_sampler_.has_value() || comms_.group->size() > 1 || trace_ != nullptr) return false;
  if (options_.speculation.num_tokens > 0) return false;  // guesses follow from what was drawn
  if (step.hash_residual || step.entries.empty()) return false;
  if (static_cast<int64_t>(step.entries.size()) > workspace_.layout().logit_rows) return false;
  for (const SequenceStep& entry : step.entries) {
    const Sequence* sequence = sequences_.Find(entry.sequence);
    if (sequence == nullptr) continue;  // it starts now, or is refused
    if (!worker::CanLag(sequence->start)) return false;
  }
  return std::all_of(step.starts.begin(), step.starts.end(),
                     [](const SequenceStart& start) { return worker::CanLag(start); });
}

absl::Status Runner::Impl::Lag(uint64_t step, std::vector<SequenceWork> work, const StepRows& rows,
                               const ForwardState& state, std::vector<StepOutput>* done) {
  LaggedStep next(step, std::move(work), rows.Logits(0, rows.logit_rows.size()));
  if (!next.rows().empty()) {
    RETURN_IF_ERROR(decoder_->Logits(rows.logit_rows, state));
    RETURN_IF_ERROR(device_sampler_->Start(workspace_.At(workspace_.layout().logits), next.rows(),
                                           next.work()));
  }
  next.AdvanceAhead(&sequences_);
  if (lagged_.has_value()) RETURN_IF_ERROR(ConcludeLagged(&next, done));
  lagged_ = std::move(next);
  return absl::OkStatus();
}

absl::Status Runner::Impl::ConcludeLagged(LaggedStep* next, std::vector<StepOutput>* done) {
  const LaggedStep step = *std::exchange(lagged_, std::nullopt);
  std::vector<SequenceResult> results(step.work().size());
  std::vector<DrawRecord> records(step.work().size());
  if (!step.rows().empty()) {
    broken_ = At(device_sampler_->Finish(step.rows(), step.work(), &results, &records));
    RETURN_IF_ERROR(broken_);
  }
  done->push_back(step.Resolve(records, std::move(results), &sequences_, next));
  return absl::OkStatus();
}

absl::Status Runner::Impl::RunStep(const StepInput& step, std::vector<StepOutput>* done) {
  const bool lags = CanLag(step);
  absl::StatusOr<std::vector<SequenceWork>> begun = sequences_.Begin(step);
  if (!begun.ok()) return At(begun.status());
  std::vector<SequenceWork> work = *std::move(begun);
  if (work.empty() && lagged_.has_value()) RETURN_IF_ERROR(ConcludeLagged(nullptr, done));
  uint64_t residual_hash = 0;
  broken_ = At(RunCopies(step.copies));
  RETURN_IF_ERROR(broken_);
  if (sampler_.has_value()) sampler_->Follow(step);
  std::vector<SequenceResult> results(work.size());
  std::vector<DrawRecord> records(work.size());
  if (!work.empty()) {
    StepRows rows = LayOut(work);
    if (lagged_.has_value()) lagged_->FillUnknown(work, &rows.ids);
    const int64_t num_rows = static_cast<int64_t>(rows.ids.size());
    if (host_side_ != nullptr) Pad(options_.max_num_batched_tokens, &rows);
    Batch batch;
    batch.step = step.step;
    batch.ids = rows.ids.data();
    batch.single_tokens = rows.single_tokens;
    batch.rows = {static_cast<int64_t>(rows.ids.size()), rows.positions.data(),
                  rows.block_tables.data()};
    const GroupComms& comms = host_side_ == nullptr ? comms_ : device_comms_.comms;
    const ForwardState state = {backend_.get(), &cache_,       &workspace_,
                                &comms,         &layers_done_, trace_.get()};
    if (trace_ != nullptr) trace_->Begin(SequencesByRow(work));
    broken_ = At(decoder_->Forward(batch, state));
    if (broken_.ok() && lags) {
      broken_ = At(Lag(step.step, std::move(work), rows, state, done));
      return broken_;
    }
    if (broken_.ok()) broken_ = At(backend_->memory().Finish());
    if (trace_ != nullptr) trace_->Flush();
    if (broken_.ok() && step.hash_residual) {
      broken_ = At(HashResidual(num_rows, &residual_hash));
    }
    if (broken_.ok()) broken_ = At(Sample(work, rows, state, &results, &records));
    if (broken_.ok() && draws()) broken_ = At(ShareRecords(step.step, work, &records));
    RETURN_IF_ERROR(broken_);
  }
  if (draws()) {
    done->push_back(Conclude(step.step, work, records, std::move(results)));
    done->back().residual_hash = residual_hash;
    return absl::OkStatus();
  }
  OpenStep open;
  open.step = step.step;
  open.residual_hash = residual_hash;
  for (const SequenceWork& each : work) {
    if (each.needs_logits()) {
      open.work.push_back(each);
    } else {
      sequences_.Advance(each, DrawRecord());
    }
  }
  open.bytes = open.work.empty() ? 0 : RecordBytes(open.work.size());
  open_bytes_ += open.bytes;
  open_.push_back(std::move(open));
  return absl::OkStatus();
}

StepOutput Runner::Impl::Conclude(uint64_t step, const std::vector<SequenceWork>& work,
                                  const std::vector<DrawRecord>& records,
                                  std::vector<SequenceResult> results) {
  StepOutput output;
  output.step = step;
  IdsHash hash;
  for (size_t w = 0; w < work.size(); ++w) {
    const Sequence& sequence = *work[w].sequence;
    sequences_.Advance(work[w], records[w]);
    for (uint32_t id : records[w].ids) hash.Add(sequence.start.sequence, id);
    if (results.empty()) continue;
    results[w].sequence = sequence.start.sequence;
    results[w].admission = sequence.start.admission;
    results[w].finish = sequence.finish;
  }
  output.ids_hash = hash.value();
  output.results = std::move(results);
  return output;
}

absl::Status Runner::Impl::HashResidual(int64_t num_rows, uint64_t* hash) {
  const int64_t count = num_rows * options_.spec.hidden_size;
  const float* residual = workspace_.At(workspace_.layout().residual);
  if (host_side_ != nullptr) {
    ASSIGN_OR_RETURN(residual, host_side_->Bring(residual, count));
  }
  *hash = HashFloats(residual, static_cast<size_t>(count));
  return absl::OkStatus();
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
    if (device_sampler_.has_value()) {
      RETURN_IF_ERROR(
          device_sampler_->Rows(logits, rows.Logits(begin, count), work, results, records));
      continue;
    }
    for (size_t i = begin; draws() && i < begin + count; ++i) {
      const size_t w = rows.logit_work[i];
      sampler_->Row(work[w], static_cast<uint32_t>(rows.positions[rows.logit_rows[i]]),
                    logits + (i - begin) * options_.spec.vocab_size, &(*results)[w],
                    &(*records)[w]);
    }
  }
  return draws() ? sampler_->Finish(sequences_, work, records) : absl::OkStatus();
}

absl::Status Runner::Impl::ShareRecords(uint64_t step, const std::vector<SequenceWork>& work,
                                        std::vector<DrawRecord>* records) {
  if (comms_.group->size() == 1) return absl::OkStatus();
  const uint32_t most_drafts = options_.speculation.num_tokens;
  std::vector<uint32_t> words(NumWords(work, most_drafts));
  if (words.empty()) return absl::OkStatus();
  if (draws()) words = Pack(work, *records, most_drafts);
  const absl::Span<std::byte> bytes(reinterpret_cast<std::byte*>(words.data()),
                                    words.size() * sizeof(uint32_t));
  if (!draws()) {
    RETURN_IF_ERROR(comms_.group->Recv(drawing_rank(), step, bytes));
    return Unpack(words, work, most_drafts, records);
  }
  for (int rank = 0; rank < comms_.group->size(); ++rank) {
    if (rank != drawing_rank()) RETURN_IF_ERROR(comms_.group->Send(rank, step, bytes));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Runner>> Runner::Create(const RunnerOptions& options,
                                                       const shard_loader::Checkpoint& checkpoint,
                                                       const LoadProgress& progress) {
  RETURN_IF_ERROR(CheckOptions(options));
  std::string kernels = options.kernels;
  if (!options.make_backend) {
    ASSIGN_OR_RETURN(kernels, ResolveKernelSet(options.kernels));
  }
  const int on_all = options.cpus.empty() ? AvailableCpus() : static_cast<int>(options.cpus.size());
  const int threads = options.threads > 0 ? options.threads : on_all;
  ASSIGN_OR_RETURN(
      std::unique_ptr<Backend> backend,
      options.make_backend ? options.make_backend() : MakeBackend(kernels, threads, options.cpus));
  RETURN_IF_ERROR(CheckDevice(options, backend->memory()));
  if (options.test_reorder_from) {
    backend = std::make_unique<ReorderedBackend>(std::move(backend), *options.test_reorder_from);
  }
  Memory& memory = backend->memory();
  shard_loader::DeviceScratch scratch;
  if (!memory.on_host()) {
    scratch = shard_loader::PlanDeviceScratch(
        options.spec, options.plan,
        {.weights = options.dtype,
         .limits = {options.max_num_batched_tokens, options.max_num_seqs},
         .max_model_len = options.max_model_len});
    if (options.speculation.draft != nullptr) {
      ASSIGN_OR_RETURN(const shard_loader::DeviceScratch draft,
                       shard_loader::PlanDraftScratch(options.speculation.draft->spec(),
                                                      options.dtype, options.max_model_len));
      scratch = shard_loader::InTurns(scratch, draft);
    }
    RETURN_IF_ERROR(backend->Reserve(scratch));
  }
  ASSIGN_OR_RETURN(KvCache cache, KvCache::Create(options.spec, options.plan, options.kv_dtype,
                                                  options.num_kv_blocks, memory));
  const shard_loader::WorkspaceLayout layout = shard_loader::MakeWorkspaceLayout(
      options.spec, options.plan, {options.max_num_batched_tokens, options.max_num_seqs});
  ASSIGN_OR_RETURN(Workspace workspace, Workspace::Create(options.plan, layout, memory));
  SequenceLimits limits;
  limits.vocab_size = static_cast<uint32_t>(options.spec.vocab_size);
  limits.block_tokens = shard_loader::kKvBlockTokens;
  limits.num_kv_blocks = options.num_kv_blocks;
  limits.num_kv_slots = options.num_kv_slots;
  limits.max_model_len = options.max_model_len;
  limits.max_num_batched_tokens = options.max_num_batched_tokens;
  limits.max_num_seqs = options.max_num_seqs;
  limits.max_logprobs = options.max_logprobs;
  auto impl = std::make_unique<Impl>(options, std::move(backend), std::move(cache),
                                     std::move(workspace), limits);
  impl->memory_.workspace_bytes = scratch.bytes();
  impl->kernels_ = kernels;
  impl->threads_ = threads;
  if (!options.trace_file.empty()) {
    ASSIGN_OR_RETURN(impl->trace_, ResidualTrace::Open(options.trace_file));
  }
  RETURN_IF_ERROR(impl->Load(checkpoint, progress));
  RETURN_IF_ERROR(impl->MakeSampler());
  return std::unique_ptr<Runner>(new Runner(std::move(impl)));
}

Runner::Runner(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Runner::~Runner() = default;

absl::Status Runner::Connect(GroupComms comms, DeviceComms device) {
  return impl_->Connect(std::move(comms), std::move(device));
}
Memory& Runner::backend_memory() { return impl_->backend_memory(); }
absl::StatusOr<std::vector<StepOutput>> Runner::RunAhead(const StepInput& step) {
  std::vector<StepOutput> done;
  RETURN_IF_ERROR(impl_->RunAhead(step, &done));
  return done;
}
absl::StatusOr<std::vector<StepOutput>> Runner::Settle() {
  std::vector<StepOutput> done;
  RETURN_IF_ERROR(impl_->SettleAll(&done));
  return done;
}
size_t Runner::num_open() const { return impl_->num_open(); }
absl::StatusOr<StepOutput> Runner::Run(const StepInput& step) {
  std::vector<StepOutput> done;
  RETURN_IF_ERROR(impl_->RunAhead(step, &done));
  RETURN_IF_ERROR(impl_->SettleAll(&done));
  return std::move(done.back());
}
uint64_t Runner::progress() const { return impl_->layers_done_.load(std::memory_order_relaxed); }
void Runner::Abort(const absl::Status& why) { impl_->Abort(why); }
const RunnerMemory& Runner::memory() const { return impl_->memory_; }
const std::string& Runner::kernels() const { return impl_->kernels_; }
int Runner::threads() const { return impl_->threads_; }

}  // namespace tessera::worker
