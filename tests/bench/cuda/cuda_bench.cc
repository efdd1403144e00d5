// Speed of a device, as JSON lines: the bandwidth of a copy, then steps of a model of the shape of
// Llama 3 8B with weights made up on the device. Ratios are to what was measured in the same run.
//   cuda_bench [LAYERS]      (default: 32; fewer on a device with less memory)
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "shard_loader/plan/packed_layout.h"
#include "shard_loader/plan/rank_plan.h"
#include "shard_loader/plan/workspace.h"
#include "worker/backend/cuda_library.h"
#include "worker/comm/local_communicator.h"
#include "worker/model/decoder.h"

namespace tessera::tests {
namespace {

using shard_loader::DType;
using worker::Buffer;
using worker::Memory;

constexpr int64_t kBlockTokens = shard_loader::kKvBlockTokens;
constexpr int64_t kContext = 4096;
constexpr int64_t kMaxSequences = 128;

template <typename T>
T Require(absl::StatusOr<T> value) {
  if (value.ok()) return *std::move(value);
  std::fprintf(stderr, "cuda_bench: %s\n", std::string(value.status().message()).c_str());
  std::exit(1);
}
void Require(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "cuda_bench: %s\n", std::string(status.message()).c_str());
  std::exit(1);
}

double Seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Seconds of one call, the median of some, each waited for.
template <typename Body>
double Time(Memory& memory, const Body& body) {
  std::vector<double> times;
  for (int i = 0; i < 3; ++i) body();  // rooms are made, graphs recorded
  Require(memory.Finish());
  const double end = Seconds() + 1.0;
  while (times.size() < 5 || Seconds() < end) {
    const double start = Seconds();
    body();
    Require(memory.Finish());
    times.push_back(Seconds() - start);
  }
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return times[times.size() / 2];
}

shard_loader::DecoderSpec Llama8B(int64_t layers) {
  shard_loader::DecoderSpec spec;
  spec.family = "llama";
  spec.num_layers = layers;
  spec.hidden_size = 4096;
  spec.vocab_size = 128256;
  spec.context_length = 8192;
  spec.rope.theta = 500000.0;
  spec.attention.num_heads = 32;
  spec.attention.num_kv_heads = 8;
  spec.attention.head_size = 128;
  spec.attention.scale = 0.08838834764831845f;
  spec.attention.windows.assign(layers, 0);
  spec.mlp.intermediate_size = 14336;
  return spec;
}

// The same attention, with 64 experts of 1,024 columns, 8 for each token, in place of the MLP.
shard_loader::DecoderSpec Experts(int64_t layers) {
  shard_loader::DecoderSpec spec = Llama8B(layers);
  spec.moe.num_experts = 64;
  spec.moe.experts_per_token = 8;
  spec.moe.intermediate_size = 1024;
  spec.moe.renormalise = true;
  spec.moe.on_layer.assign(layers, true);
  return spec;
}

// Small numbers of either sign, in 16 bits and in fp32 alike.
void FillWeights(Memory& memory, Buffer& image) {
  std::vector<uint16_t> pattern(int64_t{16} << 20);
  uint32_t state = 1;
  for (uint16_t& bits : pattern) {
    state = state * 1664525u + 1013904223u;
    bits = static_cast<uint16_t>((state >> 16 & 0x8000u) | (0x3c00u + (state >> 20 & 0xffu)));
  }
  const int64_t bytes = static_cast<int64_t>(pattern.size() * sizeof(uint16_t));
  for (int64_t offset = 0; offset < image.size(); offset += bytes) {
    memory.CopyIn(pattern.data(), std::min(bytes, image.size() - offset), image.data() + offset);
  }
  Require(memory.Finish());
}

class Bench {
 public:
  Bench(std::unique_ptr<worker::Backend> backend, const shard_loader::DecoderSpec& spec,
        const shard_loader::WeightFormat& format,
        const shard_loader::KvFormat& kv_format = DType::kBF16)
      : backend_(std::move(backend)), spec_(spec) {
    plan_ = Require(shard_loader::MakeRankPlans(spec_, {}))[0];
    layout_ = shard_loader::MakeWorkspaceLayout(spec_, plan_, {kContext, kMaxSequences});
    Memory& memory = backend_->memory();
    Buffer image = Require(
        memory.Allocate(shard_loader::MakePackedLayout(spec_, plan_, format).bytes, "the weights"));
    FillWeights(memory, image);
    weight_bytes_ = image.size();
    decoder_ = std::make_unique<worker::Decoder>(
        spec_, plan_, Require(worker::Weights::Create(spec_, plan_, format, std::move(image))),
        kContext);
    num_blocks_ = kMaxSequences * 1024 / kBlockTokens;
    cache_.emplace_back(
        Require(worker::KvCache::Create(spec_, plan_, kv_format, num_blocks_, memory)));
    workspace_.emplace_back(Require(worker::Workspace::Create(plan_, layout_, memory)));
    comms_ = std::move(worker::MakeLocalComms(1, 1, absl::Seconds(10))[0]);
  }

  int64_t weight_bytes() const { return weight_bytes_; }

  // Bytes read and written, per second, of a copy of 1 GiB.
  double CopyBandwidth() {
    const int64_t bytes = int64_t{1} << 30;
    Buffer from = Require(backend_->memory().Allocate(bytes, "a copy"));
    Buffer to = Require(backend_->memory().Allocate(bytes, "a copy"));
    const double seconds =
        Time(backend_->memory(), [&] { backend_->memory().Copy(from.data(), bytes, to.data()); });
    return 2.0 * bytes / seconds;
  }

  // Seconds of a step: `sequences` of them, each with `tokens` new ones after `before`; with logits
  // of the last of each.
  double Step(int64_t sequences, int64_t tokens, int64_t before, bool repeat, bool draws = false) {
    std::vector<uint32_t> ids;
    std::vector<int32_t> positions, last;
    std::vector<std::vector<uint32_t>> blocks(sequences);
    std::vector<const uint32_t*> tables;
    const int64_t each = (before + tokens + kBlockTokens - 1) / kBlockTokens;
    for (int64_t s = 0; s < sequences; ++s) {
      for (int64_t b = 0; b < each; ++b) {
        blocks[s].push_back(static_cast<uint32_t>((s * each + b) % num_blocks_));
      }
      for (int64_t t = 0; t < tokens; ++t) {
        ids.push_back(static_cast<uint32_t>((s * 131 + t * 7) % 1000));
        positions.push_back(static_cast<int32_t>(before + t));
        tables.push_back(blocks[s].data());
      }
      last.push_back(static_cast<int32_t>(ids.size() - 1));
    }
    worker::Batch batch;
    batch.ids = ids.data();
    batch.rows = {static_cast<int64_t>(ids.size()), positions.data(), tables.data()};
    batch.single_tokens = repeat;
    const worker::ForwardState state = {backend_.get(), &cache_[0], &workspace_[0], &comms_,
                                        &layers_done_};
    return Time(backend_->memory(), [&] {
      Require(decoder_->Forward(batch, state));
      for (size_t i = 0; i < last.size(); i += layout_.logit_rows) {
        const size_t count = std::min<size_t>(layout_.logit_rows, last.size() - i);
        Require(decoder_->Logits(absl::MakeConstSpan(last).subspan(i, count), state));
        if (draws) Draw(static_cast<int64_t>(count));
      }
    });
  }

 private:
  // Tokens of `rows` rows of logits, by what most requests ask for.
  void Draw(int64_t rows) {
    std::vector<worker::DrawRow> draws(rows);
    for (int64_t r = 0; r < rows; ++r) {
      draws[r].row = r;
      draws[r].temperature = 0.8f;
      draws[r].top_k = 50;
      draws[r].top_p = 0.95f;
      draws[r].seed = static_cast<uint64_t>(r);
    }
    worker::Drawer& drawer = *backend_->drawer();
    Require(drawer.Start(
        {workspace_[0].At(layout_.logits), rows, spec_.vocab_size, plan_.vocab_block}, draws));
    Require(drawer.Collect());
  }

  const std::unique_ptr<worker::Backend> backend_;
  const shard_loader::DecoderSpec spec_;
  shard_loader::RankPlan plan_;
  shard_loader::WorkspaceLayout layout_;
  int64_t weight_bytes_ = 0;
  int64_t num_blocks_ = 0;
  std::unique_ptr<worker::Decoder> decoder_;
  std::vector<worker::KvCache> cache_;
  std::vector<worker::Workspace> workspace_;
  worker::GroupComms comms_;
  std::atomic<uint64_t> layers_done_{0};
};

// Random bytes are as good as codes; scales among them make no number that slows anything down.
void RunInt8(std::unique_ptr<Bench> bench) {
  for (int64_t sequences : {1, 32, 128}) {
    std::printf("{\"bench\": \"decode_int8\", \"batch\": %d, \"ms\": %.3f}\n",
                static_cast<int>(sequences), 1e3 * bench->Step(sequences, 1, 512, true));
    std::fflush(stdout);
  }
}

// The cost of a cache of 8 bits, and of experts, recorded and not.
void RunSteps(const char* name, std::unique_ptr<Bench> bench) {
  for (int64_t sequences : {1, 32, 128}) {
    const double graph = bench->Step(sequences, 1, 512, true);
    const double eager = bench->Step(sequences, 1, 512, false);
    std::printf("{\"bench\": \"%s\", \"batch\": %d, \"ms\": %.3f, \"eager_ms\": %.3f}\n", name,
                static_cast<int>(sequences), 1e3 * graph, 1e3 * eager);
    std::fflush(stdout);
  }
}

void Run(int64_t layers) {
  const worker::CudaFacts facts = Require(worker::FindCuda(""));
  const worker::CudaDevice& device = facts.devices.front();
  std::printf("{\"bench\": \"device\", \"name\": \"%s\", \"driver\": \"%s\", \"layers\": %d}\n",
              device.name.c_str(), facts.driver.c_str(), static_cast<int>(layers));
  const auto backend = [&] { return Require(worker::MakeCudaBackend("", "cuda", device.index)); };
  RunInt8(std::make_unique<Bench>(backend(), Llama8B(layers),
                                  *shard_loader::ParseWeightFormat("int8")));
  RunSteps("decode_kv_int8", std::make_unique<Bench>(backend(), Llama8B(layers), DType::kBF16,
                                                     shard_loader::KvFormat::Int8()));
  const int64_t few = std::max<int64_t>(1, layers / 4);
  RunSteps("decode_experts", std::make_unique<Bench>(backend(), Experts(few), DType::kBF16));
  Bench bench(backend(), Llama8B(layers), DType::kBF16);
  const double copy = bench.CopyBandwidth();
  std::printf("{\"bench\": \"copy\", \"gb_per_s\": %.1f}\n", 1e-9 * copy);
  const double embedding = 2.0 * 128256 * 4096;  // read row by row, not whole
  for (int64_t sequences : {1, 32, 128}) {
    const double graph = bench.Step(sequences, 1, 512, true);
    const double eager = bench.Step(sequences, 1, 512, false);
    const double drawn = bench.Step(sequences, 1, 512, true, /*draws=*/true);
    std::printf(
        "{\"bench\": \"decode\", \"batch\": %d, \"ms\": %.3f, \"eager_ms\": %.3f, "
        "\"draws_ms\": %.3f, \"weights_of_copy_bandwidth\": %.3f}\n",
        static_cast<int>(sequences), 1e3 * graph, 1e3 * eager, 1e3 * (drawn - graph),
        (bench.weight_bytes() - embedding) / graph / copy);
    std::fflush(stdout);
  }
  const double prefill = bench.Step(1, kContext, 0, false);
  const double products = 2.0 * kContext * (bench.weight_bytes() / 2.0 - 2.0 * 128256 * 4096);
  std::printf("{\"bench\": \"prefill\", \"tokens\": %d, \"ms\": %.3f, \"tflops\": %.1f}\n",
              static_cast<int>(kContext), 1e3 * prefill, 1e-12 * products / prefill);
}

}  // namespace
}  // namespace tessera::tests

int main(int argc, char** argv) {
  tessera::tests::Run(argc > 1 ? std::atoi(argv[1]) : 32);
  return 0;
}
