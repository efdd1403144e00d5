// Every product as a fraction of its limit, as JSON lines on stdout and a table on stderr:
//   kernels_bench [THREADS [KERNELS [FORMAT [ROWS]]]]
// A limit is the longer of two times, measured in the same seconds: reading the weights from DRAM
// once, and the multiplications at the peak of the format's instruction.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
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

using shard_loader::WeightFormat;

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

// Groups as --dtype makes them.
worker::PackedMatrix MatrixOf(const Shape& shape, const WeightFormat& format) {
  static std::vector<std::unique_ptr<std::vector<int64_t>>> all_groups;  // borrowed by matrices
  auto groups = std::make_unique<std::vector<int64_t>>();
  for (int64_t column = 0; format.coded() && column < shape.columns; column += format.group) {
    groups->push_back(column);
  }
  groups->push_back(shape.columns);
  worker::PackedMatrix matrix = {nullptr,
                                 format.dtype,
                                 shape.outputs,
                                 shape.columns,
                                 format.codes,
                                 groups->data(),
                                 static_cast<int64_t>(groups->size()) - 1};
  all_groups.push_back(std::move(groups));
  return matrix;
}

int64_t BytesOf(const worker::PackedMatrix& matrix) {
  if (matrix.codes == shard_loader::Codes::kNone) {
    return shard_loader::PackedElements(matrix.rows, matrix.columns) *
           shard_loader::DTypeSize(matrix.dtype);
  }
  return (matrix.rows + 15) / 16 *
         shard_loader::MakeCodedTile(matrix.codes, matrix.columns, matrix.num_groups).bytes;
}

void RunShape(const Bench& bench, const Shape& shape, const WeightFormat& format, int64_t rows) {
  std::vector<float> input(rows * shape.columns, 0.5f);
  std::vector<float> output(rows * shape.outputs);
  const worker::SumOrder order = OrderOf(shape);
  const worker::PackedMatrix matrix = MatrixOf(shape, format);
  const int64_t bytes = BytesOf(matrix);
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
  const bool dots = format.coded() && !PeakInstruction(Peak::kInt8Dot).empty();
  const Peak peak_kind = dots ? Peak::kInt8Dot : Peak::kFma;
  const std::vector<double> best =
      BestTimes({[&] {
                   args.weights = matrix;
                   args.weights.data = bench.memory->Next(bytes);
                   bench.backend->Product(args);
                 },
                 [&] {
                   const std::byte* data = bench.memory->Next(read * bench.threads);
                   bench.pool->ParallelFor(bench.threads,
                                           [&](int64_t t) { ReadOnce(data + t * read, read); });
                 },
                 [&] {
                   bench.pool->ParallelFor(bench.threads, [&](int64_t t) {
                     const double operations = RunPeak(peak_kind, kRounds);
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
      static_cast<int>(rows), WeightFormatName(format).c_str(), bench.kernels.c_str(),
      bench.threads, 1e6 * best[0], 1e-9 * bytes / best[0], 1e-9 * operations / best[0], gb_s, peak,
      memory > arithmetic ? "memory" : "arithmetic", fraction);
  std::fprintf(stderr, "%-11s %-8s %-15s %4d rows %9.1f us %7.2f GB/s %8.1f GFLOP/s %-10s %.2f\n",
               bench.kernels.c_str(), WeightFormatName(format).c_str(), shape.name,
               static_cast<int>(rows), 1e6 * best[0], 1e-9 * bytes / best[0],
               1e-9 * operations / best[0], memory > arithmetic ? "memory" : "arithmetic",
               fraction);
}

int Main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  const std::string wanted = argc > 2 ? argv[2] : "auto";
  const std::string format_name = argc > 3 ? argv[3] : "bf16";
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
  const auto format = shard_loader::ParseWeightFormat(format_name);
  if (!format) {
    std::fprintf(stderr, "no format '%s'\n", format_name.c_str());
    return 2;
  }
  for (const Shape& shape : kShapes) {
    for (int64_t rows : kRows) {
      if (only_rows != 0 && only_rows != rows) continue;
      if (shape.outputs > 100000 && rows > 16) continue;
      RunShape(bench, shape, *format, rows);
    }
  }
  return 0;
}

}  // namespace
}  // namespace tessera::tests

int main(int argc, char** argv) { return tessera::tests::Main(argc, argv); }
