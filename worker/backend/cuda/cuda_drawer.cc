#include "worker/backend/cuda/cuda_drawer.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "shard_loader/plan/device_scratch.h"
#include "shard_loader/plan/rounding.h"
#include "shard_loader/status_macros.h"
#include "worker/backend/cuda/kernels.h"

namespace tessera::worker::cuda {
namespace {

constexpr int64_t kWord = sizeof(uint32_t);
static_assert(sizeof(DeviceDraw) + sizeof(DeviceDrawn) <= shard_loader::kDeviceDrawBytesPerRow);

bool Penalizes(const DrawRow& row) {
  return row.repetition_penalty != 1.0f || row.presence_penalty != 0.0f ||
         row.frequency_penalty != 0.0f;
}

std::vector<uint32_t> Unique(absl::Span<const uint32_t> ids) {
  std::vector<uint32_t> unique(ids.begin(), ids.end());
  std::sort(unique.begin(), unique.end());
  unique.erase(std::unique(unique.begin(), unique.end()), unique.end());
  return unique;
}

WordRange Append(absl::Span<const uint32_t> from, std::vector<uint32_t>* words) {
  const WordRange range = {static_cast<int32_t>(words->size()), static_cast<int32_t>(from.size())};
  words->insert(words->end(), from.begin(), from.end());
  return range;
}

DeviceDraw ToDevice(const DrawRow& row, std::vector<uint32_t>* words) {
  DeviceDraw draw;
  draw.row = static_cast<int32_t>(row.row);
  draw.draws = row.draws ? 1 : 0;
  draw.id = row.id;
  draw.top = row.top;
  if (!row.draws) return draw;
  draw.seed = row.seed;
  draw.temperature = row.temperature;
  draw.top_k = row.top_k;
  draw.top_p = row.top_p;
  draw.min_p = row.min_p;
  draw.repetition_penalty = row.repetition_penalty;
  draw.presence_penalty = row.presence_penalty;
  draw.frequency_penalty = row.frequency_penalty;
  draw.sequence_index = row.sequence_index;
  draw.position = static_cast<int64_t>(row.ids.size());
  draw.prompt_length = static_cast<int32_t>(row.prompt_length);
  if (Penalizes(row)) draw.ids = Append(row.ids, words);
  draw.all_allowed = row.allowed.empty() ? 1 : 0;
  draw.allowed = Append(Unique(row.allowed), words);
  draw.forbidden = Append(Unique(row.forbidden), words);
  draw.biased = {static_cast<int32_t>(words->size()), static_cast<int32_t>(row.biases.size())};
  for (const IdBias& each : row.biases) {
    uint32_t bits;
    std::memcpy(&bits, &each.bias, sizeof(bits));
    words->push_back(each.id);
    words->push_back(bits);
  }
  return draw;
}

// More than what ToDevice appends.
int64_t WordsOf(const DrawRow& row) {
  if (!row.draws) return 0;
  const size_t ids = Penalizes(row) ? row.ids.size() : 0;
  return static_cast<int64_t>(ids + row.allowed.size() + row.forbidden.size() +
                              2 * row.biases.size());
}

DrawnRow ToRow(const DeviceDrawn& drawn) {
  DrawnRow row;
  row.outcome = static_cast<DrawnRow::Outcome>(drawn.outcome);
  row.id = drawn.id;
  row.logprob = drawn.logprob;
  row.top.assign(drawn.top, drawn.top + drawn.num_top);
  return row;
}

int64_t NumBlocks(const DrawArgs& args) {
  return shard_loader::CeilDiv(args.vocab_size, args.vocab_block);
}

int64_t BytesPerRow(const DrawArgs& args, int64_t blocks) {
  return args.vocab_size * shard_loader::kDeviceDrawBytesPerId +
         blocks * shard_loader::kDeviceDrawBytesPerBlock + shard_loader::kDeviceDrawBytesPerRow;
}

}  // namespace

struct CudaDrawer::Places {
  Places(const DrawArgs& args, int64_t num_draws, int64_t num_blocks, std::byte* data) {
    const int64_t ids = num_draws * args.vocab_size;
    const int64_t blocks = num_draws * num_blocks;
    // What is aligned to 8 comes first.
    drawn = reinterpret_cast<DeviceDrawn*>(data);
    draws = reinterpret_cast<DeviceDraw*>(drawn + num_draws);
    values = reinterpret_cast<float*>(draws + num_draws);
    weights = values + ids;
    counts = reinterpret_cast<uint32_t*>(weights + ids);
    value_maxima = reinterpret_cast<float*>(counts + ids);
    value_sums = value_maxima + blocks;
    maxima = value_sums + blocks;
    sums = maxima + args.num_rows * num_blocks;
  }
  DeviceDrawn* drawn;
  DeviceDraw* draws;
  float* values;
  float* weights;
  uint32_t* counts;
  float* value_maxima;
  float* value_sums;
  float* maxima;
  float* sums;
};

CudaDrawer::~CudaDrawer() {
  for (Results& each : results_) {
    if (each.event != nullptr) cudaEventDestroy(each.event);
  }
}

absl::Status CudaDrawer::Reserve(const shard_loader::DeviceScratch& scratch) {
  list_bytes_ = scratch.draw_lists;
  RETURN_IF_ERROR(lists_.Reserve(scratch.draw_lists));
  RETURN_IF_ERROR(rows_.Reserve(scratch.draw_rows));
  for (Results& each : results_) {
    RETURN_IF_ERROR(Prepare(scratch.most_draws, &each));
    each.reserved = true;
  }
  return absl::OkStatus();
}

// Room for `rows` results; INTERNAL where that was reserved and is too small.
absl::Status CudaDrawer::Prepare(int64_t rows, Results* results) {
  const int64_t bytes = rows * static_cast<int64_t>(sizeof(DeviceDrawn));
  if (results->event == nullptr) {
    memory_->Check(cudaEventCreateWithFlags(&results->event, cudaEventDisableTiming), "an event");
  }
  if (bytes <= results->pinned.size()) return absl::OkStatus();
  if (results->reserved) {
    return absl::InternalError(absl::StrCat("cuda: ", rows, " results of draws, ",
                                            results->pinned.size(), " bytes were planned"));
  }
  ASSIGN_OR_RETURN(results->pinned, memory_->AllocatePinned(bytes, "results of draws"));
  return absl::OkStatus();
}

absl::Status CudaDrawer::Resolve(int64_t count, int64_t* ids) {
  if (last_drawn_ == nullptr) {
    return absl::InternalError("cuda: an id that nothing was drawn for");
  }
  memory_->Check(ResolveIds(last_drawn_, count, ids, memory_->cuda_stream()), "a kernel");
  return absl::OkStatus();
}

absl::Status CudaDrawer::Start(const DrawArgs& args, absl::Span<const DrawRow> rows) {
  const int64_t blocks = NumBlocks(args);
  if (blocks > kMaxDrawBlocks) {
    return absl::UnimplementedError(
        absl::StrCat("cuda: drawing from a vocabulary of ", args.vocab_size, " ids, ",
                     args.vocab_block, " to a block; at most ", kMaxDrawBlocks, " blocks"));
  }
  if (started_ - collected_ == kMostUnderWay) {
    return absl::InternalError("cuda: two draws are under way already");
  }
  Results& results = results_[started_ % kMostUnderWay];
  RETURN_IF_ERROR(Prepare(static_cast<int64_t>(rows.size()), &results));
  results.rows = static_cast<int64_t>(rows.size());
  DeviceDrawn* const drawn = reinterpret_cast<DeviceDrawn*>(results.pinned.data());
  size_t begin = 0;
  while (begin < rows.size()) {
    int64_t words = 0;
    size_t end = begin;
    for (; end < rows.size(); ++end) {
      words += WordsOf(rows[end]);
      const bool fits = list_bytes_ == 0 || words * kWord <= list_bytes_;
      if (end > begin && !fits) break;
    }
    RETURN_IF_ERROR(StartBatch(args, rows.subspan(begin, end - begin), drawn + begin));
    begin = end;
  }
  memory_->Check(cudaEventRecord(results.event, memory_->cuda_stream()), "an event");
  ++started_;
  return absl::OkStatus();
}

absl::Status CudaDrawer::StartBatch(const DrawArgs& args, absl::Span<const DrawRow> rows,
                                    DeviceDrawn* results) {
  const int64_t blocks = NumBlocks(args);
  const int64_t num_draws = static_cast<int64_t>(rows.size());
  std::vector<uint32_t> words;
  std::vector<DeviceDraw> draws;
  for (const DrawRow& row : rows) draws.push_back(ToDevice(row, &words));
  const int64_t word_bytes = static_cast<int64_t>(words.size()) * kWord;
  ASSIGN_OR_RETURN(std::byte* const lists, lists_.Get(word_bytes));
  ASSIGN_OR_RETURN(std::byte* const data,
                   rows_.Get(std::max(args.num_rows, num_draws) * BytesPerRow(args, blocks)));
  const Places places(args, num_draws, blocks, data);
  memory_->CopyIn(words.data(), word_bytes, lists);
  memory_->CopyIn(draws.data(), num_draws * static_cast<int64_t>(sizeof(DeviceDraw)), places.draws);

  SoftmaxBlocksArgs softmax;
  softmax.input = args.logits;
  softmax.size = args.vocab_size;
  softmax.block = args.vocab_block;
  softmax.maxima = places.maxima;
  softmax.sums = places.sums;
  memory_->Check(SoftmaxBlocksOfRows(softmax, args.num_rows, memory_->cuda_stream()), "a kernel");
  DrawBatch batch;
  batch.logits = args.logits;
  batch.vocab_size = args.vocab_size;
  batch.vocab_block = args.vocab_block;
  batch.num_blocks = blocks;
  batch.maxima = places.maxima;
  batch.sums = places.sums;
  batch.draws = places.draws;
  batch.num_draws = num_draws;
  batch.words = reinterpret_cast<const uint32_t*>(lists);
  batch.values = places.values;
  batch.weights = places.weights;
  batch.counts = places.counts;
  batch.value_maxima = places.value_maxima;
  batch.value_sums = places.value_sums;
  batch.drawn = places.drawn;
  memory_->Check(Draw(batch, memory_->cuda_stream()), "a kernel");
  memory_->CopyOut(places.drawn, num_draws * static_cast<int64_t>(sizeof(DeviceDrawn)), results);
  last_drawn_ = places.drawn;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<DrawnRow>> CudaDrawer::Collect() {
  if (started_ == collected_) return std::vector<DrawnRow>();
  const Results& results = results_[collected_++ % kMostUnderWay];
  memory_->Check(cudaEventSynchronize(results.event), "a draw");
  RETURN_IF_ERROR(memory_->error());
  const DeviceDrawn* drawn = reinterpret_cast<const DeviceDrawn*>(results.pinned.data());
  std::vector<DrawnRow> rows;
  for (int64_t r = 0; r < results.rows; ++r) rows.push_back(ToRow(drawn[r]));
  return rows;
}

}  // namespace tessera::worker::cuda
