// Speed of the worker's kernels and of a whole model, as JSON lines:
//   worker_bench [MODEL_DIR]
// Ratios are between kernel sets of one run.
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "tests/golden/model/group.h"
#include "worker/backend/backend.h"
#include "worker/backend/kernel_sets.h"

namespace tessera::tests {
namespace {

using shard_loader::DType;

double Seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Seconds of one call, the best of some.
template <typename Body>
double Time(const Body& body) {
  double best = 1e9;
  const double end = Seconds() + 0.2;
  do {
    const double start = Seconds();
    body();
    best = std::min(best, Seconds() - start);
  } while (Seconds() < end);
  return best;
}

void BenchProduct(const std::string& kernels, DType dtype, int64_t num_rows) {
  const int64_t size = 2048;
  auto backend = *worker::MakeBackend(kernels, 1);
  std::vector<std::byte> weights(size * size * shard_loader::DTypeSize(dtype));
  std::vector<float> input(num_rows * size, 0.5f);
  std::vector<float> output(num_rows * size);
  const worker::SumOrder order = worker::SumOrder::Whole(size);
  worker::ProductArgs args;
  args.input = input.data();
  args.num_rows = num_rows;
  args.weights = {weights.data(), dtype, size, size};
  args.lanes = order.lanes.data();
  args.num_lanes = 1;
  args.output = output.data();
  const double seconds = Time([&] { backend->Product(args); });
  std::printf(
      "{\"bench\": \"product\", \"kernels\": \"%s\", \"dtype\": \"%s\", \"rows\": %d, "
      "\"gflops\": %.1f, \"weights_gb_per_s\": %.1f}\n",
      kernels.c_str(), shard_loader::DTypeName(dtype), static_cast<int>(num_rows),
      2e-9 * num_rows * size * size / seconds, 1e-9 * weights.size() / seconds);
}

void BenchModel(const std::string& model, const std::string& kernels, DType dtype) {
  GroupOptions options;
  options.kernels = kernels;
  options.dtype = dtype;
  options.kv_dtype = dtype;
  options.num_kv_blocks = 1024;
  options.max_num_batched_tokens = 512;
  Group group(model, options);
  for (size_t sequences : {1, 16}) {
    const std::vector<uint32_t> prompt(16, 5);
    std::vector<worker::SequenceStart> starts(sequences, GreedyStart(prompt, 100));
    const double seconds = Time([&] { group.Generate(starts); });
    std::printf(
        "{\"bench\": \"decode\", \"kernels\": \"%s\", \"dtype\": \"%s\", \"sequences\": %d, "
        "\"tokens_per_s\": %.0f}\n",
        kernels.c_str(), shard_loader::DTypeName(dtype), static_cast<int>(sequences),
        100.0 * sequences / seconds);
  }
  const std::vector<uint32_t> prompt(400, 5);
  const double seconds = Time([&] { group.Generate({GreedyStart(prompt, 1)}, 512); });
  std::printf(
      "{\"bench\": \"prefill\", \"kernels\": \"%s\", \"dtype\": \"%s\", \"tokens_per_s\": %.0f}\n",
      kernels.c_str(), shard_loader::DTypeName(dtype), 400 / seconds);
}

int Main(int argc, char** argv) {
  for (const std::string& kernels : worker::AvailableKernelSets()) {
    if (kernels == "reference") continue;
    for (DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      for (int64_t rows : {1, 4, 64}) {
        if (kernels == "generic" && rows == 64) continue;
        BenchProduct(kernels, dtype, rows);
      }
    }
    if (argc > 1) {
      BenchModel(argv[1], kernels, DType::kF32);
      BenchModel(argv[1], kernels, DType::kBF16);
    }
  }
  return 0;
}

}  // namespace
}  // namespace tessera::tests

int main(int argc, char** argv) { return tessera::tests::Main(argc, argv); }
