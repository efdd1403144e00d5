// Every product as a fraction of its limit, as JSON lines on stdout and a table on stderr:
//   kernels_bench [THREADS [KERNELS [DTYPE]]]
// A limit is the longer of two times, measured in the same seconds: reading the weights from DRAM
// once, and the multiplications at the peak of the dtype's instruction.
#include <algorithm>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "shard_loader/plan/packed_layout.h"
#include "tests/bench/kernels/machine_limits.h"
#include "worker/backend/backend.h"
#include "worker/backend/kernel_sets.h"
#include "worker/tensor/thread_pool.h"

namespace tessera::tests {
namespace {

using shard_loader::DType;

struct Shape {
  const char* name;
  int64_t outputs;
  int64_t columns;
  int lanes;
};

constexpr Shape kShapes[] = {
    {"llama-1b gate", 8192, 2048, 0},   {"llama-1b down", 2048, 8192, 8},
    {"llama-1b q", 2048, 2048, 0},      {"llama-1b k", 512, 2048, 0},
    {"llama-1b head", 128256, 2048, 0}, {"qwen-0.5b gate", 4864, 896, 0},
    {"qwen-0.5b down", 896, 4864, 8},
};
constexpr int64_t kRows[] = {1, 2, 4, 8, 12, 16, 32, 64, 128, 512};

struct Bench {
  std::string kernels;
  int threads;
  ColdMemory* memory;
  worker::ThreadPool* pool;
  worker::Backend* backend;
};

worker::SumOrder OrderOf(const Shape& shape) {
  if (shape.lanes == 0) return worker::SumOrder::Whole(shape.columns);
  const auto tree = shard_loader::LaneTree::ForColumns(shape.columns, shape.lanes);
  return worker::SumOrder::Lanes(tree, {0, tree.num_lanes()}, 1);
}

void RunShape(const Bench& bench, const Shape& shape, DType dtype, int64_t rows) {
  std::vector<float> input(rows * shape.columns, 0.5f);
  std::vector<float> output(rows * shape.outputs);
  const worker::SumOrder order = OrderOf(shape);
  const int64_t bytes =
      shard_loader::PackedElements(shape.outputs, shape.columns) * shard_loader::DTypeSize(dtype);
  worker::ProductArgs args;
  args.input = input.data();
  args.num_rows = rows;
  args.lanes = order.lanes.data();
  args.num_lanes = static_cast<int64_t>(order.lanes.size());
  args.output = output.data();
  // The limits on about a millisecond's work each.
  const int64_t read = std::min<int64_t>(bytes, int64_t{16} << 20);
  constexpr int64_t kRounds = 20000;
  double peak_operations = 0;
  const std::vector<double> best =
      BestTimes({[&] {
                   args.weights = {bench.memory->Next(bytes), dtype, shape.outputs, shape.columns};
                   bench.backend->Product(args);
                 },
                 [&] {
                   const std::byte* data = bench.memory->Next(read * bench.threads);
                   bench.pool->ParallelFor(bench.threads,
                                           [&](int64_t t) { ReadOnce(data + t * read, read); });
                 },
                 [&] {
                   bench.pool->ParallelFor(bench.threads, [&](int64_t t) {
                     const double operations = RunPeak(Peak::kFma, kRounds);
                     if (t == 0) peak_operations = operations * bench.threads;
                   });
                 }},
                bench.threads, 0.3);
  const double operations = 2.0 * rows * shape.outputs * shape.columns;
  const double gb_s = 1e-9 * read * bench.threads / best[1];
  const double peak = 1e-9 * peak_operations / best[2];
  const double memory = 1e-9 * bytes / gb_s;
  const double arithmetic = 1e-9 * operations / peak;
  const double fraction = std::max(memory, arithmetic) / best[0];
  std::printf(
      "{\"bench\": \"kernels\", \"shape\": \"%s\", \"outputs\": %d, \"columns\": %d, \"lanes\": "
      "%d, "
      "\"rows\": %d, \"dtype\": \"%s\", \"kernels\": \"%s\", \"threads\": %d, \"us\": %.1f, "
      "\"gb_per_s\": %.2f, \"gflop_per_s\": %.1f, \"dram_gb_per_s\": %.2f, \"peak_gflop_per_s\": "
      "%.1f, \"bound\": \"%s\", \"fraction\": %.3f}\n",
      shape.name, static_cast<int>(shape.outputs), static_cast<int>(shape.columns), shape.lanes,
      static_cast<int>(rows), shard_loader::DTypeName(dtype), bench.kernels.c_str(), bench.threads,
      1e6 * best[0], 1e-9 * bytes / best[0], 1e-9 * operations / best[0], gb_s, peak,
      memory > arithmetic ? "memory" : "arithmetic", fraction);
  std::fprintf(stderr, "%-8s %-5s %-15s %4d rows %9.1f us %7.2f GB/s %8.1f GFLOP/s %-10s %.2f\n",
               bench.kernels.c_str(), shard_loader::DTypeName(dtype), shape.name,
               static_cast<int>(rows), 1e6 * best[0], 1e-9 * bytes / best[0],
               1e-9 * operations / best[0], memory > arithmetic ? "memory" : "arithmetic",
               fraction);
}

int Main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  const std::string wanted = argc > 2 ? argv[2] : "auto";
  const std::string dtype_name = argc > 3 ? argv[3] : "bf16";
  const int only_rows = argc > 4 ? std::atoi(argv[4]) : 0;
  auto kernels = worker::ResolveKernelSet(wanted);
  if (!kernels.ok()) {
    std::fprintf(stderr, "%s\n", std::string(kernels.status().message()).c_str());
    return 2;
  }
  std::fprintf(stderr, "%s\n", CpuText().c_str());
  ColdMemory memory(int64_t{1200} << 20);
  worker::ThreadPool pool(threads);
  auto backend = *worker::MakeBackend(*kernels, threads);
  const Bench bench = {*kernels, threads, &memory, &pool, backend.get()};
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    if (dtype_name != shard_loader::DTypeName(dtype)) continue;
    for (const Shape& shape : kShapes) {
      for (int64_t rows : kRows) {
        if (only_rows != 0 && only_rows != rows) continue;
        if (shape.outputs > 100000 && rows > 16) continue;
        RunShape(bench, shape, dtype, rows);
      }
    }
  }
  return 0;
}

}  // namespace
}  // namespace tessera::tests

int main(int argc, char** argv) { return tessera::tests::Main(argc, argv); }
