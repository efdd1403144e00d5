#include "tests/conformance/backend/cases.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "shard_loader/plan/packed_layout.h"
#include "shard_loader/plan/workspace.h"
#include "worker/backend/coded_matrix.h"
#include "worker/tensor/convert.h"

namespace tessera::tests {
namespace {

using shard_loader::DType;
using shard_loader::kKvBlockTokens;

// SplitMix64 (Steele et al., "Fast splittable pseudorandom number generators").
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15 + 1) {}
  uint64_t Next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  int64_t Below(int64_t bound) { return static_cast<int64_t>(Next() % bound); }
  float Float() {  // four uniforms: between -4 and 4
    float sum = 0;
    for (int i = 0; i < 4; ++i) sum += static_cast<float>(Next() >> 40) * 0x1p-23f - 1.0f;
    return sum;
  }

 private:
  uint64_t state_;
};

void Append(const Floats& from, Floats* to) { to->insert(to->end(), from.begin(), from.end()); }

Floats RunNorm(worker::Backend& backend, int64_t rows, int64_t size, uint64_t seed) {
  const Floats input = RandomFloats(seed, rows * size);
  const Floats weight = RandomFloats(seed + 1, size);
  Floats all;
  for (auto kind : {shard_loader::NormKind::kRms, shard_loader::NormKind::kLayer}) {
    Floats output(rows * size);
    worker::NormArgs args = {input.data(), rows, size, weight.data(), 1e-5f, output.data(), kind};
    backend.Norm(args);
    Append(output, &all);
    args.bias = weight.data();
    args.weight = nullptr;
    backend.Norm(args);
    Append(output, &all);
  }
  Floats squares(rows);
  backend.SquareSums(input.data(), rows, size, squares.data());
  Append(squares, &all);
  // Every row has a sum and weights of its own, as the heads of one token.
  Floats output(rows * size);
  worker::NormArgs args = {input.data(), rows, size, input.data(), 1e-5f, output.data()};
  args.weight_rows = rows;
  args.squares = squares.data();
  args.sum_size = 3 * size;
  backend.Norm(args);
  Append(output, &all);
  return all;
}

Floats RunElementwise(worker::Backend& backend, int64_t size, uint64_t seed) {
  Floats all;
  const Floats up = RandomFloats(seed, size);
  for (auto activation : kActivations) {
    for (const float* gated : {up.data(), static_cast<const float*>(nullptr)}) {
      Floats gate = RandomFloats(seed + 1, size, 30.0f);
      backend.Activate({activation, size, gated, gate.data(), 7.0f});
      Append(gate, &all);
    }
  }
  Floats residual = RandomFloats(seed + 2, 3 * size);
  const Floats sum = RandomFloats(seed + 3, 3 * size);
  backend.AddToResidual({sum.data(), up.data(), 3, size, 1.0f, residual.data()});
  backend.AddToResidual({sum.data(), nullptr, 3, size, 0.22f, residual.data()});
  const int32_t rows[] = {2, 0};
  const float weights[] = {0.3f, -1.7f};
  backend.AddWeightedRows({sum.data(), size, 2, size, rows, weights, residual.data()});
  backend.AddWeightedRows({up.data(), 0, 2, size, rows, weights, residual.data()});
  Append(residual, &all);
  backend.ScaleAndCap(1.3f, 0.0f, size, residual.data());
  backend.ScaleAndCap(0.7f, 5.0f, size, residual.data());
  Append(residual, &all);
  return all;
}

Floats RunSoftmax(worker::Backend& backend, int64_t size, int64_t block, uint64_t seed) {
  const Floats input = RandomFloats(seed, size, 20.0f);
  const int64_t blocks = (size + block - 1) / block;
  Floats all(2 * blocks + size);
  backend.SoftmaxBlocks(
      {input.data(), size, block, all.data(), all.data() + blocks, all.data() + 2 * blocks});
  return all;
}

}  // namespace

Floats RandomFloats(uint64_t seed, int64_t count, float scale) {
  Random random(seed);
  Floats values(count);
  for (float& value : values) value = random.Float() * scale;
  return values;
}

bool SameBits(const Floats& a, const Floats& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

double Distance(const Floats& a, const Floats& b) {
  if (a.size() != b.size()) return std::numeric_limits<double>::quiet_NaN();
  double distance = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(double{a[i]} - b[i]);
    if (std::isnan(d)) return d;
    distance = std::max(distance, d);
  }
  return distance;
}

Matrix::Matrix(uint64_t seed, int64_t rows, int64_t columns,
               const shard_loader::WeightFormat& format)
    : rows(rows), columns(columns), format(format) {
  const Floats values = RandomFloats(seed, rows * columns);
  if (format.coded()) {
    for (int64_t column = 0; column < columns; column += format.group) groups.push_back(column);
    groups.push_back(columns);
    const int64_t tiles = (rows + shard_loader::kTileRows - 1) / shard_loader::kTileRows;
    bytes.resize(tiles *
                 shard_loader::MakeCodedTile(format.codes, columns, groups.size() - 1).bytes);
    for (int64_t row = 0; row < rows; ++row) {
      worker::PackCodedRow(packed(), row, values.data() + row * columns, bytes.data());
    }
    return;
  }
  bytes.resize(shard_loader::PackedElements(rows, columns) * DTypeSize(format.dtype));
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      worker::StoreElement(values[row * columns + column], bytes.data(),
                           shard_loader::PackedIndex(row, column, columns, format.dtype),
                           format.dtype);
    }
  }
}

worker::PackedMatrix Matrix::packed() const {
  const int64_t num_groups = format.coded() ? static_cast<int64_t>(groups.size()) - 1 : 0;
  return {bytes.data(), format.dtype, rows, columns, format.codes, groups.data(), num_groups};
}

float Matrix::At(int64_t row, int64_t column) const {
  return worker::ElementOf(packed(), row, column);
}

Floats RunProduct(worker::Backend& backend, const ProductCase& test, uint64_t seed) {
  const Matrix weights(seed, test.outputs, test.columns, test.format);
  Floats input = RandomFloats(seed + 1, test.num_rows * test.columns);
  for (float& x : input) {
    if (test.bf16_inputs) x = worker::BF16ToFloat(worker::FloatToBF16(x));
  }
  const Floats bias = RandomFloats(seed + 2, test.outputs);
  worker::SumOrder order = worker::SumOrder::Whole(test.columns);
  if (test.lanes > 0) {
    const auto tree = shard_loader::LaneTree::ForColumns(test.columns, test.lanes);
    // Without the last lane the rank owns several subtrees.
    const int64_t owned = std::max(1, tree.num_lanes() - 1);
    order = worker::SumOrder::Lanes(tree, {0, owned}, 1);
  }
  Floats output(order.num_roots * test.num_rows * test.outputs, -1.0f);
  worker::ProductArgs args;
  args.input = input.data();
  args.num_rows = test.num_rows;
  args.weights = weights.packed();
  args.lanes = order.lanes.data();
  args.num_lanes = static_cast<int64_t>(order.lanes.size());
  args.bias = test.bias ? bias.data() : nullptr;
  args.output = output.data();
  args.root_stride = test.num_rows * test.outputs;
  backend.Product(args);
  return output;
}

namespace {

// Numbers up to 4, in `heads` heads of blocks.
void FillCache(const shard_loader::KvBlockShape& shape, int64_t heads,
               const shard_loader::KvFormat& format, uint64_t seed, std::vector<std::byte>& cache) {
  cache.resize(heads * shape.bytes(format));
  if (!format.int8) {
    const int64_t elements = heads * shape.elements();
    const Floats values = RandomFloats(seed, elements);
    worker::NarrowElements(values.data(), elements, format.dtype, cache.data());
    return;
  }
  Random random(seed);
  for (int64_t head = 0; head < heads; ++head) {
    std::byte* data = cache.data() + head * shape.bytes(format);
    for (int64_t i = 0; i < shape.elements(); ++i) {
      data[i] = static_cast<std::byte>(static_cast<int8_t>(random.Below(255) - 127));
    }
    for (int64_t i = 0; i < 2 * kKvBlockTokens; ++i) {
      const float scale = static_cast<float>(1 + random.Below(1000)) * (4.0f / 127000.0f);
      worker::StoreElement(scale, data + shape.elements(), i, DType::kF32);
    }
  }
}

}  // namespace

AttentionInputs::AttentionInputs(const AttentionCase& test_case, uint64_t seed) : test(test_case) {
  const int64_t rows = static_cast<int64_t>(test.positions.size());
  const shard_loader::KvBlockShape shape = {test.head_size, (test.values() + 15) / 16 * 16};
  uint32_t next_block = 0;
  for (int32_t position : test.positions) {
    std::vector<uint32_t> table;
    for (int64_t slot = 0; slot <= position; slot += kKvBlockTokens) table.push_back(next_block++);
    blocks.push_back(std::move(table));
  }
  // Blocks of a sequence do not lie in order.
  for (auto& table : blocks) std::reverse(table.begin(), table.end());
  for (const auto& table : blocks) {
    block_tables.push_back(test.one_sequence ? blocks.back().data() : table.data());
  }
  FillCache(shape, next_block * test.num_kv_heads, test.kv_dtype, seed, cache);
  for (int64_t head = 0; head < test.num_heads; ++head) {
    kv_head_of.push_back(static_cast<int32_t>(head * test.num_kv_heads / test.num_heads));
  }
  query = RandomFloats(seed + 1, rows * test.num_heads * test.head_size);
  key = RandomFloats(seed + 2, rows * test.num_kv_heads * test.head_size);
  value = RandomFloats(seed + 3, rows * test.num_kv_heads * test.values());
  slopes = RandomFloats(seed + 5, test.num_heads, 0.1f);
  sinks = RandomFloats(seed + 6, test.num_heads);
  for (float angle : RandomFloats(seed + 4, rows * test.rotary() / 2)) {
    cosines.push_back(std::cos(angle));
    sines.push_back(std::sin(angle));
  }
}

worker::KvLayer AttentionInputs::layer() {
  return {cache.data(),   test.kv_dtype.dtype, test.num_kv_heads,
          test.head_size, test.values(),       test.kv_dtype.int8};
}

Floats AttentionInputs::RotateAndStore(worker::Backend& backend) {
  const worker::RowTable rows = {static_cast<int64_t>(test.positions.size()), test.positions.data(),
                                 block_tables.data()};
  worker::RopeArgs args;
  args.cosines = cosines.data();
  args.sines = sines.data();
  args.rotary_begin = test.rotary_begin;
  args.rotary_size = test.rotary();
  args.interleaved = test.interleaved;
  args.query = query.data();
  args.num_heads = test.num_heads;
  args.key = key.data();
  args.value = value.data();
  backend.RopeAndStore(rows, args, layer());
  Floats rotated = query;
  Append(key, &rotated);
  return rotated;
}

Floats AttentionInputs::Attend(worker::Backend& backend, int64_t first_row, int64_t num_rows) {
  const int64_t width = test.num_heads * test.head_size;
  Floats output(num_rows * test.num_heads * test.values());
  worker::AttentionArgs args;
  args.query = query.data() + first_row * width;
  args.num_heads = test.num_heads;
  args.kv_head_of = kv_head_of.data();
  args.scale = 1.0f / std::sqrt(static_cast<float>(test.head_size));
  args.window = test.window;
  args.output = output.data();
  args.soft_cap = test.soft_cap;
  if (test.biased) args.slopes = slopes.data();
  if (test.sinks) args.sinks = sinks.data();
  backend.Attend({num_rows, test.positions.data() + first_row, block_tables.data() + first_row},
                 args, layer());
  return output;
}

Floats RunEverything(worker::Backend& backend, uint64_t seed) {
  Random random(seed);
  auto pick = [&](std::vector<int64_t> choices) { return choices[random.Below(choices.size())]; };
  const DType dtypes[] = {DType::kF32, DType::kBF16, DType::kF16};
  Floats all;
  ProductCase product;
  product.num_rows = 1 + random.Below(19);
  product.outputs = 1 + random.Below(200);
  product.columns = 1 + random.Below(300);
  product.format = dtypes[random.Below(3)];
  if (random.Below(2) == 1) {
    using shard_loader::Codes;
    const Codes codes[] = {Codes::kInt8, Codes::kInt4, Codes::kInt4Offset};
    product.format = {codes[random.Below(3)], pick({32, 64, 128}), dtypes[1 + random.Below(2)]};
  }
  product.lanes = static_cast<int>(pick({0, 2, 8, 16}));
  product.bias = random.Below(2) == 1;
  Append(RunProduct(backend, product, random.Next()), &all);
  Append(RunNorm(backend, 1 + random.Below(5), 1 + random.Below(300), random.Next()), &all);
  Append(RunElementwise(backend, 1 + random.Below(300), random.Next()), &all);
  Append(RunSoftmax(backend, 1 + random.Below(3000), pick({8, 64, 1024}), random.Next()), &all);
  AttentionCase attention;
  for (int64_t row = 1 + random.Below(4); row > 0; --row) {
    attention.positions.push_back(static_cast<int32_t>(random.Below(700)));
  }
  attention.num_kv_heads = pick({1, 2});
  attention.num_heads = attention.num_kv_heads * pick({1, 3});
  attention.head_size = pick({4, 8, 32, 64, 80, 128});
  attention.window = pick({0, 0, 1, 40, 300});
  attention.kv_dtype = dtypes[random.Below(3)];
  if (random.Below(3) == 0) {
    attention.kv_dtype = shard_loader::KvFormat::Int8();
  }
  attention.value_size = pick({0, 0, 4, 24, 64});
  attention.rotary_size = pick({0, 4, 2});
  if (attention.rotary_size > 0) attention.rotary_begin = pick({0, attention.head_size - 4});
  attention.interleaved = random.Below(2) == 1;
  attention.soft_cap = random.Below(2) == 1 ? 3.0f : 0.0f;
  attention.biased = random.Below(2) == 1;
  attention.sinks = random.Below(2) == 1;
  if (random.Below(2) == 1) {  // a chunk of one sequence
    attention.one_sequence = true;
    attention.positions.resize(1);
    for (int64_t row = random.Below(40); row > 0; --row) {
      attention.positions.push_back(attention.positions.back() + 1);
    }
  }
  AttentionInputs inputs(attention, random.Next());
  Append(inputs.RotateAndStore(backend), &all);
  Append(inputs.Attend(backend, 0, static_cast<int64_t>(attention.positions.size())), &all);
  return all;
}

}  // namespace tessera::tests
