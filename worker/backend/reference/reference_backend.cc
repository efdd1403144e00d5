#include "worker/backend/reference/reference_backend.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "shard_loader/plan/packed_layout.h"
#include "shard_loader/plan/workspace.h"
#include "worker/tensor/convert.h"

namespace tessera::worker {
namespace {

using shard_loader::kKvBlockTokens;
using shard_loader::KvBlockShape;
using shard_loader::PackedIndex;

float Weight(const PackedMatrix& matrix, int64_t row, int64_t column) {
  return LoadElement(matrix.data, PackedIndex(row, column, matrix.columns), matrix.dtype);
}

// Where the cache holds element i of a head's key or value at a position.
struct CacheIndex {
  CacheIndex(const KvLayer& cache, const uint32_t* blocks) : cache(cache), blocks(blocks) {
    shape.head_size = cache.head_size;
    shape.value_stride = (cache.head_size + 15) / 16 * 16;
  }
  int64_t Head(int64_t position, int64_t head) const {
    const int64_t block = blocks[position / kKvBlockTokens];
    return (block * cache.num_kv_heads + head) * shape.elements();
  }
  int64_t Key(int64_t position, int64_t head, int64_t i) const {
    return Head(position, head) + i * kKvBlockTokens + position % kKvBlockTokens;
  }
  int64_t Value(int64_t position, int64_t head, int64_t i) const {
    return Head(position, head) + shape.keys() + position % kKvBlockTokens * shape.value_stride + i;
  }
  const KvLayer& cache;
  const uint32_t* blocks;
  KvBlockShape shape;
};

void Rotate(const float* cosines, const float* sines, int64_t size, float* head) {
  for (int64_t i = 0; i < size / 2; ++i) {
    const double first = head[i];
    const double second = head[i + size / 2];
    head[i] = static_cast<float>(first * cosines[i] - second * sines[i]);
    head[i + size / 2] = static_cast<float>(second * cosines[i] + first * sines[i]);
  }
}

double Activate(shard_loader::Activation activation, double x) {
  switch (activation) {
    case shard_loader::Activation::kSilu:
      return x / (1 + std::exp(-x));
    case shard_loader::Activation::kGelu:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case shard_loader::Activation::kGeluTanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  }
  return x;
}

class ReferenceBackend : public Backend {
 public:
  void EmbedRows(const PackedMatrix& table, const int64_t* ids, int64_t count,
                 float* output) override {
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t c = 0; c < table.columns; ++c) {
        output[i * table.columns + c] = Weight(table, ids[i], c);
      }
    }
  }

  void RmsNorm(const NormArgs& args) override {
    for (int64_t row = 0; row < args.num_rows; ++row) {
      const float* input = args.input + row * args.size;
      double squares = 0;
      for (int64_t i = 0; i < args.size; ++i) squares += double{input[i]} * input[i];
      const double scale = 1 / std::sqrt(squares / args.size + args.epsilon);
      for (int64_t i = 0; i < args.size; ++i) {
        args.output[row * args.size + i] = static_cast<float>(args.weight[i] * (input[i] * scale));
      }
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
      const float* cosines = args.cosines + row * (size / 2);
      const float* sines = args.sines + row * (size / 2);
      for (int64_t head = 0; head < args.num_heads; ++head) {
        Rotate(cosines, sines, size, args.query + (row * args.num_heads + head) * size);
      }
      const CacheIndex index(cache, rows.block_tables[row]);
      const int64_t position = rows.positions[row];
      for (int64_t head = 0; head < cache.num_kv_heads; ++head) {
        const int64_t first = (row * cache.num_kv_heads + head) * size;
        Rotate(cosines, sines, size, args.key + first);
        for (int64_t i = 0; i < size; ++i) {
          StoreElement(args.key[first + i], cache.data, index.Key(position, head, i), cache.dtype);
          StoreElement(args.value[first + i], cache.data, index.Value(position, head, i),
                       cache.dtype);
        }
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

  void GatedActivation(shard_loader::Activation activation, int64_t size, const float* up,
                       float* gate) override {
    for (int64_t i = 0; i < size; ++i) {
      gate[i] = static_cast<float>(Activate(activation, gate[i]) * up[i]);
    }
  }

  void AddToResidual(const float* sum, const float* bias, int64_t num_rows, int64_t size,
                     float* residual) override {
    for (int64_t i = 0; i < num_rows * size; ++i) {
      residual[i] += bias == nullptr ? sum[i] : sum[i] + bias[i % size];
    }
  }

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
  // Output n of one row: lanes, each from zero, folded along the tree.
  static void ProductOutput(const ProductArgs& args, int64_t row, int64_t n) {
    std::vector<float> waiting;
    for (int64_t l = 0; l < args.num_lanes; ++l) {
      const SumLane& lane = args.lanes[l];
      double sum = 0;
      for (int64_t k = lane.begin; k < lane.end; ++k) {
        sum += double{args.input[row * args.weights.columns + k]} * Weight(args.weights, n, k);
      }
      float folded = static_cast<float>(sum);
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
    const CacheIndex index(cache, rows.block_tables[row]);
    const int64_t kv_head = args.kv_head_of[head];
    const int64_t first = (row * args.num_heads + head) * size;

    std::vector<double> weights(end - begin);
    double maximum = -std::numeric_limits<double>::infinity();
    for (int64_t key = begin; key < end; ++key) {
      double score = 0;
      for (int64_t i = 0; i < size; ++i) {
        score += double{args.query[first + i]} *
                 LoadElement(cache.data, index.Key(key, kv_head, i), cache.dtype);
      }
      weights[key - begin] = score * args.scale;
      maximum = std::max(maximum, weights[key - begin]);
    }
    double sum = 0;
    for (double& weight : weights) sum += weight = std::exp(weight - maximum);
    for (int64_t i = 0; i < size; ++i) {
      double output = 0;
      for (int64_t key = begin; key < end; ++key) {
        output += weights[key - begin] *
                  LoadElement(cache.data, index.Value(key, kv_head, i), cache.dtype);
      }
      args.output[first + i] = static_cast<float>(output / sum);
    }
  }
};

}  // namespace

std::unique_ptr<Backend> MakeReferenceBackend() { return std::make_unique<ReferenceBackend>(); }

}  // namespace tessera::worker
