// A device's backend, for tests whose inputs lie on the host: arguments go to the device and
// results come back around every operation.
#ifndef TESSERA_TESTS_CONFORMANCE_CUDA_DEVICE_BACKEND_H_
#define TESSERA_TESTS_CONFORMANCE_CUDA_DEVICE_BACKEND_H_

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

#include "shard_loader/plan/packed_layout.h"
#include "worker/backend/backend.h"

namespace tessera::tests {

class DeviceBackend final : public worker::Backend {
 public:
  explicit DeviceBackend(std::unique_ptr<worker::Backend> device) : device_(std::move(device)) {}

  worker::Memory& memory() override { return device_->memory(); }
  absl::Status Reserve(const shard_loader::DeviceScratch& scratch) override {
    return device_->Reserve(scratch);
  }
  worker::Drawer* drawer() override { return device_->drawer(); }
  worker::Mixture* mixture() override { return device_->mixture(); }
  worker::Backend& device() { return *device_; }

  void EmbedRows(const worker::PackedMatrix& table, const int64_t* ids, int64_t count,
                 float* output) override {
    Call call(memory());
    device_->EmbedRows(In(call, table), ids, count, call.Out(output, count * table.columns));
  }
  void Norm(const worker::NormArgs& host) override {
    Call call(memory());
    worker::NormArgs args = host;
    const int64_t size = host.num_rows * host.size;
    args.input = call.In(host.input, size);
    args.weight = call.In(host.weight, host.weight_rows * host.size);
    args.bias = call.In(host.bias, host.weight_rows * host.size);
    args.squares = call.In(host.squares, host.num_rows / host.weight_rows);
    args.output = call.Out(host.output, size);
    device_->Norm(args);
  }
  void SquareSums(const float* input, int64_t num_rows, int64_t size, float* output) override {
    Call call(memory());
    device_->SquareSums(call.In(input, num_rows * size), num_rows, size,
                        call.Out(output, num_rows));
  }
  void Product(const worker::ProductArgs& host) override {
    Call call(memory());
    worker::ProductArgs args = host;
    int roots = 1;
    for (int64_t l = 0; l < host.num_lanes; ++l) roots = std::max(roots, host.lanes[l].root + 1);
    args.input = call.In(host.input, host.num_rows * host.weights.columns);
    args.weights = In(call, host.weights);
    args.bias = call.In(host.bias, host.weights.rows);
    args.output =
        call.Out(host.output, (roots - 1) * host.root_stride + host.num_rows * host.weights.rows);
    device_->Product(args);
  }
  void RopeAndStore(const worker::RowTable& rows, const worker::RopeArgs& host,
                    const worker::KvLayer& cache) override {
    Call call(memory());
    worker::RopeArgs args = host;
    const int64_t angles = rows.num_rows * host.rotary_size / 2;
    args.cosines = call.In(host.cosines, angles);
    args.sines = call.In(host.sines, angles);
    args.query = call.Out(host.query, rows.num_rows * host.num_heads * cache.head_size);
    args.key = call.Out(host.key, rows.num_rows * cache.num_kv_heads * cache.head_size);
    args.value = call.In(host.value, rows.num_rows * cache.num_kv_heads * cache.value_size);
    device_->RopeAndStore(rows, args, InOut(call, rows, cache));
  }
  void Attend(const worker::RowTable& rows, const worker::AttentionArgs& host,
              const worker::KvLayer& cache) override {
    Call call(memory());
    worker::AttentionArgs args = host;
    args.query = call.In(host.query, rows.num_rows * host.num_heads * cache.head_size);
    args.sinks = call.In(host.sinks, host.num_heads);
    args.output = call.Out(host.output, rows.num_rows * host.num_heads * cache.value_size);
    device_->Attend(rows, args, InOut(call, rows, cache));
  }
  void Activate(const worker::ActivationArgs& host) override {
    Call call(memory());
    worker::ActivationArgs args = host;
    args.up = call.In(host.up, host.size);
    args.gate = call.Out(host.gate, host.size);
    device_->Activate(args);
  }
  void AddToResidual(const worker::ResidualArgs& host) override {
    Call call(memory());
    worker::ResidualArgs args = host;
    args.sum = call.In(host.sum, host.num_rows * host.size);
    args.bias = call.In(host.bias, host.size);
    args.residual = call.Out(host.residual, host.num_rows * host.size);
    device_->AddToResidual(args);
  }
  void AddWeightedRows(const worker::WeightedRowsArgs& host) override {
    Call call(memory());
    worker::WeightedRowsArgs args = host;
    int64_t rows = 0;
    for (int64_t i = 0; i < host.count; ++i) rows = std::max<int64_t>(rows, host.rows[i] + 1);
    args.input = call.In(host.input, (host.count - 1) * host.input_stride + host.size);
    args.output = call.Out(host.output, rows * host.size);
    device_->AddWeightedRows(args);
  }
  void ScaleAndCap(float scale, float cap, int64_t size, float* data) override {
    Call call(memory());
    device_->ScaleAndCap(scale, cap, size, call.Out(data, size));
  }
  void CopyRows(const worker::CopyRowsArgs& host) override {
    Call call(memory());
    worker::CopyRowsArgs args = host;
    auto floats = [&](const int32_t* rows, int64_t stride) {
      int64_t last = host.num_rows - 1;
      for (int64_t i = 0; rows != nullptr && i < host.num_rows; ++i) {
        last = std::max<int64_t>(last, rows[i]);
      }
      return last * stride + host.size;
    };
    args.from = call.In(host.from, floats(host.from_rows, host.from_stride));
    args.to = call.Out(host.to, floats(host.to_rows, host.to_stride));
    device_->CopyRows(args);
  }
  absl::Status Repeat(const worker::RowTable&,
                      absl::FunctionRef<absl::Status()> operations) override {
    return operations();
  }
  void AddTree(const worker::AddTreeArgs& host) override {
    Call call(memory());
    worker::AddTreeArgs args = host;
    std::vector<const float*> roots;
    for (int r = 0; r < host.num_roots; ++r) roots.push_back(call.In(host.roots[r], host.size));
    args.roots = roots.data();
    args.output = call.Out(host.output, host.size);
    device_->AddTree(args);
  }
  void SoftmaxBlocks(const worker::SoftmaxBlocksArgs& host) override {
    Call call(memory());
    worker::SoftmaxBlocksArgs args = host;
    const int64_t blocks = (host.size + host.block - 1) / host.block;
    args.input = call.In(host.input, host.size);
    args.maxima = call.Out(host.maxima, blocks);
    args.sums = call.Out(host.sums, blocks);
    args.exponentials = call.Out(host.exponentials, host.size);
    device_->SoftmaxBlocks(args);
  }

 private:
  // The arrays of one operation; its destructor waits and brings results back.
  class Call {
   public:
    explicit Call(worker::Memory& memory) : memory_(memory) {}
    ~Call() {
      for (const auto& [from, bytes, to] : results_) memory_.CopyOut(from, bytes, to);
      failed_ = failed_.ok() ? memory_.Finish() : failed_;
      if (!failed_.ok()) {
        std::fprintf(stderr, "%s\n", failed_.ToString().c_str());
        std::abort();
      }
    }
    std::byte* Bytes(const void* host, int64_t bytes) {
      auto buffer = memory_.Allocate(bytes, "a test");
      if (!buffer.ok()) failed_ = buffer.status();
      if (!buffer.ok() || bytes == 0) return nullptr;
      memory_.CopyIn(host, bytes, buffer->data());
      buffers_.push_back(*std::move(buffer));
      return buffers_.back().data();
    }
    void Back(const std::byte* from, int64_t bytes, void* to) {
      results_.push_back({from, bytes, to});
    }
    const float* In(const float* host, int64_t count) {
      if (host == nullptr) return nullptr;
      return reinterpret_cast<const float*>(Bytes(host, count * 4));
    }
    float* Out(float* host, int64_t count) {
      if (host == nullptr) return nullptr;
      std::byte* data = Bytes(host, count * 4);
      Back(data, count * 4, host);
      return reinterpret_cast<float*>(data);
    }

   private:
    struct Result {
      const std::byte* from;
      int64_t bytes;
      void* to;
    };
    worker::Memory& memory_;
    absl::Status failed_;
    std::vector<worker::Buffer> buffers_;
    std::vector<Result> results_;
  };

  static worker::PackedMatrix In(Call& call, const worker::PackedMatrix& host) {
    worker::PackedMatrix matrix = host;
    int64_t bytes =
        shard_loader::PackedElements(host.rows, host.columns) * shard_loader::DTypeSize(host.dtype);
    if (host.codes != shard_loader::Codes::kNone) {
      const int64_t tiles = (host.rows + shard_loader::kTileRows - 1) / shard_loader::kTileRows;
      bytes = tiles * shard_loader::MakeCodedTile(host.codes, host.columns, host.num_groups).bytes;
    }
    matrix.data = call.Bytes(host.data, bytes);
    return matrix;
  }
  static worker::KvLayer InOut(Call& call, const worker::RowTable& rows,
                               const worker::KvLayer& host) {
    int64_t blocks = 0;
    for (int64_t r = 0; r < rows.num_rows; ++r) {
      for (int64_t b = 0; b <= rows.positions[r] / 16; ++b) {
        blocks = std::max<int64_t>(blocks, int64_t{rows.block_tables[r][b]} + 1);
      }
    }
    const int64_t elements = (host.head_size + (host.value_size + 15) / 16 * 16) * 16;
    const int64_t head =
        host.int8 ? elements + 128 : elements * shard_loader::DTypeSize(host.dtype);
    const int64_t bytes = blocks * host.num_kv_heads * head;
    worker::KvLayer layer = host;
    layer.data = call.Bytes(host.data, bytes);
    call.Back(layer.data, bytes, host.data);
    return layer;
  }

  const std::unique_ptr<worker::Backend> device_;
};

}  // namespace tessera::tests

#endif  // TESSERA_TESTS_CONFORMANCE_CUDA_DEVICE_BACKEND_H_
