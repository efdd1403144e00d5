// One instruction set against another: every operation, on numbers of any kind, gives the same
// bits. The bytes choose shapes, formats and raw floats, so that infinities, subnormals and NaN
// come too.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "shard_loader/plan/workspace.h"
#include "worker/backend/backend.h"
#include "worker/backend/kernel_sets.h"

namespace {

using tessera::shard_loader::Activation;
using tessera::shard_loader::DType;
using tessera::shard_loader::KvFormat;
using tessera::worker::Backend;

class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  int64_t Below(int64_t bound) { return Byte() % bound; }
  uint8_t Byte() { return next_ < size_ ? data_[next_++] : 0; }
  // The input is repeated to fill any shape.
  float Float() {
    uint32_t bits = 0;
    for (int i = 0; i < 4; ++i) bits = bits << 8 | Cyclic();
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
  }
  std::vector<float> Floats(int64_t count) {
    std::vector<float> values(count);
    for (float& value : values) value = Float();
    return values;
  }
  std::vector<std::byte> Raw(int64_t count) {
    std::vector<std::byte> bytes(count);
    for (std::byte& byte : bytes) byte = std::byte{Cyclic()};
    return bytes;
  }

 private:
  uint8_t Cyclic() {
    if (size_ == 0) return 0;
    cycle_ = (cycle_ + 1) % size_;
    return data_[cycle_];
  }
  const uint8_t* data_;
  size_t size_;
  size_t next_ = 0;
  size_t cycle_ = 0;
};

void Append(const std::vector<float>& from, std::vector<float>* to) {
  to->insert(to->end(), from.begin(), from.end());
}

DType PickDType(Bytes& bytes) {
  const DType dtypes[] = {DType::kF32, DType::kBF16, DType::kF16};
  return dtypes[bytes.Below(3)];
}

std::vector<float> RunProduct(Backend& backend, Bytes& bytes) {
  const int64_t rows = 1 + bytes.Below(9), outputs = 1 + bytes.Below(70);
  const int64_t columns = 1 + bytes.Below(40);
  const DType dtype = PickDType(bytes);
  const auto order = tessera::worker::SumOrder::Whole(columns);
  const int64_t padded = (outputs + 15) / 16 * 16;
  const auto weights = bytes.Raw(padded * (columns + 1) / 2 * 2 * DTypeSize(dtype));
  const auto input = bytes.Floats(rows * columns);
  const auto bias = bytes.Floats(outputs);
  std::vector<float> output(rows * outputs);
  tessera::worker::ProductArgs args;
  args.input = input.data();
  args.num_rows = rows;
  args.weights = {weights.data(), dtype, outputs, columns};
  args.lanes = order.lanes.data();
  args.num_lanes = 1;
  args.bias = bytes.Below(2) == 1 ? bias.data() : nullptr;
  args.output = output.data();
  backend.Product(args);
  return output;
}

std::vector<float> RunRowOperations(Backend& backend, Bytes& bytes) {
  const int64_t size = 1 + bytes.Below(100);
  std::vector<float> all(2 * size);
  const auto input = bytes.Floats(2 * size);
  const auto weight = bytes.Floats(size);
  backend.Norm({input.data(), 2, size, weight.data(), 1e-5f, all.data()});
  for (auto activation : {Activation::kSilu, Activation::kGelu, Activation::kGeluTanh}) {
    std::vector<float> gate = bytes.Floats(size);
    backend.Activate({activation, size, weight.data(), gate.data(), 2.0f});
    Append(gate, &all);
  }
  std::vector<float> residual = input;
  backend.AddToResidual({all.data(), weight.data(), 2, size, 0.5f, residual.data()});
  Append(residual, &all);
  std::vector<float> softmax(2 * ((size + 31) / 32) + size);
  float* sums = softmax.data() + (size + 31) / 32;
  backend.SoftmaxBlocks({weight.data(), size, 32, softmax.data(), sums, sums + (size + 31) / 32});
  Append(softmax, &all);
  return all;
}

std::vector<float> RunAttention(Backend& backend, Bytes& bytes) {
  const int64_t head_size = 2 * (1 + bytes.Below(24)), heads = 1 + bytes.Below(3);
  const int32_t position = 2 * bytes.Byte();
  const int64_t window = bytes.Byte();
  KvFormat format = PickDType(bytes);
  if (bytes.Below(4) == 0) format = KvFormat::Int8();
  std::vector<uint32_t> blocks;
  for (int32_t at = 0; at <= position; at += 16)
    blocks.push_back(static_cast<uint32_t>(blocks.size()));
  const tessera::shard_loader::KvBlockShape shape = {head_size, (head_size + 15) / 16 * 16};
  auto cache = bytes.Raw(static_cast<int64_t>(blocks.size()) * shape.bytes(format));
  auto query = bytes.Floats(heads * head_size), key = bytes.Floats(head_size);
  const auto value = bytes.Floats(head_size);
  const auto cosines = bytes.Floats(head_size / 2), sines = bytes.Floats(head_size / 2);
  const uint32_t* table = blocks.data();
  const tessera::worker::RowTable rows = {1, &position, &table};
  const tessera::worker::KvLayer layer = {cache.data(), format.dtype, 1,
                                          head_size,    head_size,    format.int8};
  const bool interleaved = bytes.Below(2) == 1;
  backend.RopeAndStore(rows,
                       {cosines.data(), sines.data(), 0, head_size, interleaved, query.data(),
                        heads, key.data(), value.data()},
                       layer);
  const std::vector<int32_t> kv_head_of(heads, 0);
  std::vector<float> output(heads * head_size);
  const float soft_cap = bytes.Below(2) == 1 ? 3.0f : 0.0f;
  const auto slopes = bytes.Floats(heads), sinks = bytes.Floats(heads);
  backend.Attend(
      rows,
      {query.data(), heads, kv_head_of.data(), 0.25f, window, output.data(), soft_cap,
       bytes.Below(2) == 1 ? slopes.data() : nullptr, bytes.Below(2) == 1 ? sinks.data() : nullptr},
      layer);
  Append(query, &output);
  return output;
}

// NaN may have any payload.
bool Same(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    const bool equal = std::memcmp(&a[i], &b[i], sizeof(float)) == 0;
    if (!equal && !(std::isnan(a[i]) && std::isnan(b[i]))) return false;
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static auto* const sets = [] {
    auto* made = new std::vector<std::unique_ptr<Backend>>();
    for (const std::string& name : tessera::worker::AvailableKernelSets()) {
      if (*tessera::worker::KernelNumerics(name) == "fma16") {
        made->push_back(*tessera::worker::MakeBackend(name, 1));
      }
    }
    return made;
  }();
  const auto run = [&](Backend& backend) {
    Bytes bytes(data, size);
    std::vector<float> all = RunProduct(backend, bytes);
    Append(RunRowOperations(backend, bytes), &all);
    Append(RunAttention(backend, bytes), &all);
    return all;
  };
  const std::vector<float> expected = run(*sets->back());
  for (size_t i = 0; i + 1 < sets->size(); ++i) {
    if (!Same(expected, run(*(*sets)[i]))) std::abort();
  }
  return 0;
}
