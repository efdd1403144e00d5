// Prefill and decode of a whole model as fractions of this machine's limits, as JSON lines:
//   model_bench MODEL_DIR [FORMAT [THREADS [KERNELS]]]
// tests/bench/make_model.py makes models of random weights in real shapes. A step's limit is the
// longer of two times: reading all weights from DRAM once, and its multiplications at the peak of
// the format's instruction.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "shard_loader/plan/workspace.h"
#include "tests/bench/kernels/machine_limits.h"
#include "tests/golden/model/group.h"
#include "worker/tensor/cpus.h"
#include "worker/tensor/thread_pool.h"

namespace tessera::tests {
namespace {

using worker::StepInput;

constexpr uint32_t kContext = 1024;
constexpr uint32_t kMostStreams = 32;

struct Limits {
  double bytes_per_s = 0;
  double operations_per_s = 0;
};

Limits MeasureLimits(Peak peak, int threads) {
  static ColdMemory memory(int64_t{512} << 20);
  worker::ThreadPool pool(threads);
  constexpr int64_t kRead = int64_t{32} << 20;
  double operations = 0;
  const std::vector<double> best =
      BestTimes({[&] {
                   const std::byte* data = memory.Next(kRead * threads);
                   pool.ParallelFor(threads, [&](int64_t t) { ReadOnce(data + t * kRead, kRead); });
                 },
                 [&] {
                   pool.ParallelFor(threads, [&](int64_t t) {
                     const double done = RunPeak(peak, 50000);
                     if (t == 0) operations = done * threads;
                   });
                 }},
                threads, 1.0);
  return {static_cast<double>(kRead * threads) / best[0], operations / best[1]};
}

class Bench {
 public:
  Bench(const std::string& model, const GroupOptions& options)
      : group_(model, options), threads_(options.threads) {}

  // Seconds of a prefill of `tokens`, the best of some.
  double Prefill(uint32_t tokens) {
    double best = 1e9;
    for (int i = 0; i < 3; ++i) {
      StepInput step = NewStep();
      AddSequence(std::vector<uint32_t>(tokens, 5), &step);
      best = std::min(best, Time(step));
    }
    return best;
  }

  // Seconds of a decode step of `streams`, the best of some.
  double Decode(uint32_t streams) {
    StepInput first = NewStep();
    std::vector<uint64_t> sequences;
    for (uint32_t i = 0; i < streams; ++i) {
      sequences.push_back(AddSequence(std::vector<uint32_t>(8, 5 + i), &first));
    }
    Time(first);
    double best = 1e9;
    for (int i = 0; i < 12; ++i) {
      StepInput step;
      step.step = next_step_++;
      for (uint64_t sequence : sequences) step.entries.push_back({sequence, 1, {}});
      best = std::min(best, Time(step));
    }
    return best;
  }

  uint64_t weight_bytes() { return group_.runner(0).memory().weight_bytes; }
  const shard_loader::DecoderSpec& spec() const { return group_.spec(); }
  const std::string& kernels() { return group_.runner(0).kernels(); }

 private:
  // Ends all sequences that there are.
  StepInput NewStep() {
    StepInput step;
    step.step = next_step_++;
    step.ends = std::move(running_);
    running_.clear();
    next_block_ = 0;
    return step;
  }

  uint64_t AddSequence(const std::vector<uint32_t>& prompt, StepInput* step) {
    worker::SequenceStart start = GreedyStart(prompt, 1000);
    start.sequence = next_sequence_++;
    running_.push_back(start.sequence);
    worker::SequenceStep entry = {start.sequence, static_cast<uint32_t>(prompt.size()), {}};
    const size_t blocks = (prompt.size() + 32) / shard_loader::kKvBlockTokens + 1;
    for (size_t b = 0; b < blocks; ++b) entry.new_blocks.push_back(next_block_++);
    step->starts.push_back(start);
    step->entries.push_back(entry);
    return start.sequence;
  }

  double Time(const StepInput& step) {
    const double start = threads_ == 1 ? ThreadSeconds() : WallSeconds();
    if (!group_.Run(step).ok()) std::abort();
    return (threads_ == 1 ? ThreadSeconds() : WallSeconds()) - start;
  }

  Group group_;
  const int threads_;
  uint64_t next_step_ = 1;
  uint64_t next_sequence_ = 1;
  uint32_t next_block_ = 0;
  std::vector<uint64_t> running_;
};

// Multiplications and additions of one row through all layers' matrices, and through the head.
double LayerOperations(const shard_loader::DecoderSpec& spec) {
  const double heads = static_cast<double>(spec.attention.num_heads + spec.attention.num_kv_heads);
  const double attention = 2.0 * heads * spec.attention.head_size * spec.hidden_size;
  const double mlp = 3.0 * spec.mlp.intermediate_size * spec.hidden_size;
  return 2.0 * spec.num_layers * (attention + mlp);
}
double HeadOperations(const shard_loader::DecoderSpec& spec) {
  return 2.0 * spec.hidden_size * spec.vocab_size;
}

void Print(const std::string& format, Bench& bench, const std::string& what, uint32_t count,
           double seconds, double operations, const Limits& limits) {
  const double memory = static_cast<double>(bench.weight_bytes()) / limits.bytes_per_s;
  const double arithmetic = operations / limits.operations_per_s;
  std::printf(
      "{\"bench\": \"model\", \"what\": \"%s\", \"count\": %u, \"format\": \"%s\", \"kernels\": "
      "\"%s\", \"tokens_per_s\": %.2f, \"dram_gb_per_s\": %.2f, \"peak_gop_per_s\": %.1f, "
      "\"bound\": \"%s\", \"fraction\": %.3f}\n",
      what.c_str(), count, format.c_str(), bench.kernels().c_str(), count / seconds,
      1e-9 * limits.bytes_per_s, 1e-9 * limits.operations_per_s,
      memory > arithmetic ? "memory" : "arithmetic", std::max(memory, arithmetic) / seconds);
  std::fflush(stdout);
}

int Main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "model_bench MODEL_DIR [FORMAT [THREADS [KERNELS]]]\n");
    return 2;
  }
  const std::string name = argc > 2 ? argv[2] : "bf16";
  const auto format = shard_loader::ParseWeightFormat(name);
  if (!format) {
    std::fprintf(stderr, "no format '%s'\n", name.c_str());
    return 2;
  }
  GroupOptions options;
  options.dtype = *format;
  options.kv_dtype = shard_loader::DType::kBF16;
  options.threads = argc > 3 ? std::atoi(argv[3]) : worker::AvailableCpus();
  options.kernels = argc > 4 ? argv[4] : "auto";
  options.max_model_len = kContext;
  options.max_num_batched_tokens = 512;
  options.max_num_seqs = 2 * kMostStreams;
  Bench bench(argv[1], options);
  const bool dots = format->coded() && !PeakInstruction(Peak::kInt8Dot).empty();
  const Peak peak = dots ? Peak::kInt8Dot : Peak::kFma;
  const double layers = LayerOperations(bench.spec());
  const double head = HeadOperations(bench.spec());
  for (uint32_t tokens : {128, 512}) {
    const Limits limits = MeasureLimits(peak, options.threads);
    Print(name, bench, "prefill", tokens, bench.Prefill(tokens), tokens * layers + head, limits);
  }
  for (uint32_t streams : {1, 8, 32}) {
    const Limits limits = MeasureLimits(peak, options.threads);
    Print(name, bench, "decode", streams, bench.Decode(streams), streams * (layers + head), limits);
  }
  return 0;
}

}  // namespace
}  // namespace tessera::tests

int main(int argc, char** argv) { return tessera::tests::Main(argc, argv); }
