#include "worker/backend/reference/reference_backend.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "shard_loader/plan/workspace.h"
#include "worker/backend/coded_matrix.h"
#include "worker/tensor/convert.h"

namespace tessera::worker {
namespace {

using shard_loader::DType;
using shard_loader::kKvBlockTokens;
using shard_loader::KvBlockShape;
using shard_loader::KvFormat;

// A row's inputs in [begin, end) as integers of 8 bits.
struct CodedInputs {
  std::vector<int> codes;
  float scale = 0;
};

CodedInputs CodeInputs(const float* input, int64_t begin, int64_t end) {
  CodedInputs coded;
  float largest = 0;
  bool finite = true;
  for (int64_t k = begin; k < end; ++k) {
    largest = std::max(largest, std::abs(input[k]));
    finite = finite && std::isfinite(input[k]);
  }
  coded.codes.resize(end - begin);
  if (!finite) coded.scale = std::numeric_limits<float>::quiet_NaN();
  if (!finite || largest < 1e-30f) return coded;
  coded.scale = largest / 127.0f;
  const float inverse = 127.0f / largest;
  for (int64_t k = begin; k < end; ++k) {
    coded.codes[k - begin] = static_cast<int>(std::nearbyint(input[k] * inverse));
  }
  return coded;
}

// The sum over columns [begin, end) of one lane. With a coded matrix the inputs are coded too,
// group by group.
double LaneSum(const ProductArgs& args, int64_t row, int64_t n, int64_t begin, int64_t end) {
  const PackedMatrix& weights = args.weights;
  const float* input = args.input + row * weights.columns;
  double sum = 0;
  if (weights.codes == shard_loader::Codes::kNone) {
    for (int64_t k = begin; k < end; ++k) sum += double{input[k]} * ElementOf(weights, n, k);
    return sum;
  }
  while (begin < end) {
    const int64_t border = std::min(end, weights.groups[GroupOf(weights, begin) + 1]);
    const CodedInputs coded = CodeInputs(input, begin, border);
    double group = 0;
    for (int64_t k = begin; k < border; ++k) {
      group += double{ElementOf(weights, n, k)} * coded.codes[k - begin];
    }
    sum += group * coded.scale;
    begin = border;
  }
  return sum;
}

// What the cache holds for a head's key or value at a position.
class CacheView {
 public:
  CacheView(const KvLayer& cache, const uint32_t* blocks) : cache_(cache), blocks_(blocks) {
    shape_.head_size = cache.head_size;
    shape_.value_stride = (cache.value_size + 15) / 16 * 16;
    head_bytes_ = shape_.bytes(cache.int8 ? KvFormat::Int8() : KvFormat(cache.dtype));
  }
  double Key(int64_t position, int64_t head, int64_t i) const {
    return Element(position, head, KeyAt(position, i), 0);
  }
  double Value(int64_t position, int64_t head, int64_t i) const {
    return Element(position, head, ValueAt(position, i), kKvBlockTokens);
  }
  void Store(int64_t position, int64_t head, const float* key, const float* value) const {
    std::byte* data = Head(position, head);
    if (!cache_.int8) {
      for (int64_t i = 0; i < cache_.head_size; ++i) {
        StoreElement(key[i], data, KeyAt(position, i), cache_.dtype);
      }
      for (int64_t i = 0; i < cache_.value_size; ++i) {
        StoreElement(value[i], data, ValueAt(position, i), cache_.dtype);
      }
      return;
    }
    const CodedInputs keys = CodeInputs(key, 0, cache_.head_size);
    const CodedInputs values = CodeInputs(value, 0, cache_.value_size);
    for (int64_t i = 0; i < cache_.head_size; ++i) {
      data[KeyAt(position, i)] = static_cast<std::byte>(keys.codes[i]);
    }
    for (int64_t i = 0; i < cache_.value_size; ++i) {
      data[ValueAt(position, i)] = static_cast<std::byte>(values.codes[i]);
    }
    const int64_t token = position % kKvBlockTokens;
    StoreElement(keys.scale, data + shape_.elements(), token, DType::kF32);
    StoreElement(values.scale, data + shape_.elements(), kKvBlockTokens + token, DType::kF32);
  }

 private:
  std::byte* Head(int64_t position, int64_t head) const {
    const int64_t block = blocks_[position / kKvBlockTokens];
    return cache_.data + (block * cache_.num_kv_heads + head) * head_bytes_;
  }
  // Elements of a head's part of a block.
  int64_t KeyAt(int64_t position, int64_t i) const {
    return i * kKvBlockTokens + position % kKvBlockTokens;
  }
  int64_t ValueAt(int64_t position, int64_t i) const {
    return shape_.keys() + position % kKvBlockTokens * shape_.value_stride + i;
  }
  // `scales`: the index of the first one.
  double Element(int64_t position, int64_t head, int64_t index, int64_t scales) const {
    const std::byte* data = Head(position, head);
    if (!cache_.int8) return LoadElement(data, index, cache_.dtype);
    const auto code = static_cast<int8_t>(data[index]);
    const int64_t token = position % kKvBlockTokens;
    return double{LoadElement(data + shape_.elements(), scales + token, DType::kF32)} * code;
  }

  const KvLayer& cache_;
  const uint32_t* blocks_;
  KvBlockShape shape_;
  int64_t head_bytes_ = 0;
};

void Rotate(const RopeArgs& args, int64_t row, float* head) {
  const int64_t half = args.rotary_size / 2;
  for (int64_t i = 0; i < half; ++i) {
    const double cosine = args.cosines[row * half + i];
    const double sine = args.sines[row * half + i];
    float& first = head[args.rotary_begin + (args.interleaved ? 2 * i : i)];
    float& second = head[args.rotary_begin + (args.interleaved ? 2 * i + 1 : i + half)];
    const double turned = first * cosine - second * sine;
    second = static_cast<float>(second * cosine + first * sine);
    first = static_cast<float>(turned);
  }
}

double Activated(shard_loader::Activation activation, double x) {
  switch (activation) {
    case shard_loader::Activation::kSilu:
      return x / (1 + std::exp(-x));
    case shard_loader::Activation::kGelu:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case shard_loader::Activation::kGeluTanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case shard_loader::Activation::kQuickGelu:
    case shard_loader::Activation::kClampedSwiglu:
      return x / (1 + std::exp(-double{1.702f} * x));
    case shard_loader::Activation::kRelu:
      return x < 0 ? 0 : x;
    case shard_loader::Activation::kRelu2:
      return x < 0 ? 0 : x * x;
  }
  return x;
}

double Capped(double x, double cap) { return cap > 0 ? cap * std::tanh(x / cap) : x; }

class ReferenceBackend : public Backend {
 public:
  Memory& memory() override { return HostMemory(); }
  absl::Status Reserve(const shard_loader::DeviceScratch&) override { return absl::OkStatus(); }
  Drawer* drawer() override { return nullptr; }
  Mixture* mixture() override { return nullptr; }

  void EmbedRows(const PackedMatrix& table, const int64_t* ids, int64_t count,
                 float* output) override {
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t c = 0; c < table.columns; ++c) {
        output[i * table.columns + c] = ElementOf(table, ids[i], c);
      }
    }
  }

  void Norm(const NormArgs& args) override {
    for (int64_t row = 0; row < args.num_rows; ++row) NormRow(args, row);
  }

  void SquareSums(const float* input, int64_t num_rows, int64_t size, float* output) override {
    for (int64_t row = 0; row < num_rows; ++row) {
      double squares = 0;
      for (int64_t i = 0; i < size; ++i) {
        squares += double{input[row * size + i]} * input[row * size + i];
      }
      output[row] = static_cast<float>(squares);
    }
  }

  void Product(const ProductArgs& args) override {
    for (int64_t row = 0; row < args.num_rows; ++row) {
      for (int64_t n = 0; n < args.weights.rows; ++n) ProductOutput(args, row, n);
    }
  }

  void RopeAndStore(const RowTable& rows, const RopeArgs& args, const KvLayer& cache) override {
    const int64_t size = cache.head_size;
    for (int64_t row = 0; row < rows.num_rows; ++row) {
      for (int64_t head = 0; head < args.num_heads; ++head) {
        Rotate(args, row, args.query + (row * args.num_heads + head) * size);
      }
      const CacheView view(cache, rows.block_tables[row]);
      const int64_t position = rows.positions[row];
      for (int64_t head = 0; head < cache.num_kv_heads; ++head) {
        const int64_t kv_row = row * cache.num_kv_heads + head;
        float* key = args.key + kv_row * size;
        Rotate(args, row, key);
        view.Store(position, head, key, args.value + kv_row * cache.value_size);
      }
    }
  }

  void Attend(const RowTable& rows, const AttentionArgs& args, const KvLayer& cache) override {
    for (int64_t row = 0; row < rows.num_rows; ++row) {
      for (int64_t head = 0; head < args.num_heads; ++head) {
        AttendHead(rows, args, cache, row, head);
      }
    }
  }

  void Activate(const ActivationArgs& args) override {
    for (int64_t i = 0; i < args.size; ++i) {
      double gate = args.gate[i];
      double up = args.up == nullptr ? 1.0 : args.up[i];
      if (args.activation == shard_loader::Activation::kClampedSwiglu) {
        if (gate > args.limit) gate = args.limit;
        if (up > args.limit) up = args.limit;
        if (up < -args.limit) up = -args.limit;
        up += 1;
      }
      args.gate[i] = static_cast<float>(Activated(args.activation, gate) * up);
    }
  }

  void AddToResidual(const ResidualArgs& args) override {
    for (int64_t i = 0; i < args.num_rows * args.size; ++i) {
      const float bias = args.bias == nullptr ? 0.0f : args.bias[i % args.size];
      args.residual[i] += args.scale * (args.sum[i] + bias);
    }
  }

  void AddWeightedRows(const WeightedRowsArgs& args) override {
    for (int64_t i = 0; i < args.count; ++i) {
      float* output = args.output + args.rows[i] * args.size;
      for (int64_t k = 0; k < args.size; ++k) {
        const double part = double{args.weights[i]} * args.input[i * args.input_stride + k];
        output[k] = static_cast<float>(part + output[k]);
      }
    }
  }

  void ScaleAndCap(float scale, float cap, int64_t size, float* data) override {
    for (int64_t i = 0; i < size; ++i) {
      data[i] = static_cast<float>(Capped(double{data[i]} * scale, cap));
    }
  }

  void CopyRows(const CopyRowsArgs& args) override { CopyHostRows(args); }

  absl::Status Repeat(const RowTable&, absl::FunctionRef<absl::Status()> operations) override {
    return operations();
  }

  void AddTree(const AddTreeArgs& args) override { AddHostTree(args); }

  void SoftmaxBlocks(const SoftmaxBlocksArgs& args) override {
    for (int64_t begin = 0; begin < args.size; begin += args.block) {
      const int64_t end = std::min(begin + args.block, args.size);
      const float maximum = *std::max_element(args.input + begin, args.input + end);
      const double offset = maximum == -std::numeric_limits<float>::infinity() ? 0.0 : maximum;
      double sum = 0;
      for (int64_t i = begin; i < end; ++i) {
        const double e = std::exp(args.input[i] - offset);
        sum += e;
        if (args.exponentials != nullptr) args.exponentials[i] = static_cast<float>(e);
      }
      args.maxima[begin / args.block] = maximum;
      args.sums[begin / args.block] = static_cast<float>(sum);
    }
  }

 private:
  static void NormRow(const NormArgs& args, int64_t row) {
    const float* input = args.input + row * args.size;
    const int64_t weights = row % args.weight_rows * args.size;
    double mean = 0, squares = 0;
    if (args.kind == shard_loader::NormKind::kLayer) {
      for (int64_t i = 0; i < args.size; ++i) mean += input[i];
      mean /= static_cast<double>(args.size);
    }
    for (int64_t i = 0; i < args.size; ++i) squares += (input[i] - mean) * (input[i] - mean);
    double count = static_cast<double>(args.size);
    if (args.squares != nullptr) {
      squares = args.squares[row / args.weight_rows];
      count = static_cast<double>(args.sum_size);
    }
    const double scale = 1 / std::sqrt(squares / count + args.epsilon);
    for (int64_t i = 0; i < args.size; ++i) {
      const double weight = args.weight == nullptr ? 1.0 : args.weight[weights + i];
      const double bias = args.bias == nullptr ? 0.0 : args.bias[weights + i];
      args.output[row * args.size + i] =
          static_cast<float>(weight * ((input[i] - mean) * scale) + bias);
    }
  }

  // Output n of one row: lanes, each from zero, folded along the tree.
  static void ProductOutput(const ProductArgs& args, int64_t row, int64_t n) {
    std::vector<float> waiting;
    for (int64_t l = 0; l < args.num_lanes; ++l) {
      const SumLane& lane = args.lanes[l];
      float folded = static_cast<float>(LaneSum(args, row, n, lane.begin, lane.end));
      for (int fold = 0; fold < lane.folds; ++fold) {
        folded = waiting.back() + folded;
        waiting.pop_back();
      }
      if (lane.root < 0) {
        waiting.push_back(folded);
        continue;
      }
      const float bias = args.bias == nullptr ? 0.0f : args.bias[n];
      args.output[lane.root * args.root_stride + row * args.weights.rows + n] = folded + bias;
    }
  }

  static void AttendHead(const RowTable& rows, const AttentionArgs& args, const KvLayer& cache,
                         int64_t row, int64_t head) {
    const int64_t size = cache.head_size;
    const int64_t end = int64_t{rows.positions[row]} + 1;
    const int64_t begin = args.window > 0 ? std::max<int64_t>(0, end - args.window) : 0;
    const CacheView view(cache, rows.block_tables[row]);
    const int64_t kv_head = args.kv_head_of[head];
    const int64_t first = (row * args.num_heads + head) * size;

    std::vector<double> weights(end - begin);
    double maximum = -std::numeric_limits<double>::infinity();
    for (int64_t key = begin; key < end; ++key) {
      double score = 0;
      for (int64_t i = 0; i < size; ++i) {
        score += args.query[first + i] * view.Key(key, kv_head, i);
      }
      score = Capped(score * args.scale, args.soft_cap);
      if (args.slopes != nullptr) score += double{args.slopes[head]} * (key - (end - 1));
      weights[key - begin] = score;
      maximum = std::max(maximum, weights[key - begin]);
    }
    if (args.sinks != nullptr) maximum = std::max(maximum, double{args.sinks[head]});
    double sum = args.sinks == nullptr ? 0 : std::exp(args.sinks[head] - maximum);
    for (double& weight : weights) sum += weight = std::exp(weight - maximum);
    for (int64_t i = 0; i < cache.value_size; ++i) {
      double output = 0;
      for (int64_t key = begin; key < end; ++key) {
        output += weights[key - begin] * view.Value(key, kv_head, i);
      }
      args.output[(row * args.num_heads + head) * cache.value_size + i] =
          static_cast<float>(output / sum);
    }
  }
};

}  // namespace

std::unique_ptr<Backend> MakeReferenceBackend() { return std::make_unique<ReferenceBackend>(); }

}  // namespace tessera::worker
