// Inputs for the operations of a backend, made from a seed, and runs of every operation on them.
#ifndef TESSERA_TESTS_CONFORMANCE_BACKEND_CASES_H_
#define TESSERA_TESTS_CONFORMANCE_BACKEND_CASES_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "shard_loader/plan/kv_format.h"
#include "shard_loader/plan/weight_format.h"
#include "worker/backend/backend.h"

namespace tessera::tests {

using Floats = std::vector<float>;

inline constexpr shard_loader::Activation kActivations[] = {
    shard_loader::Activation::kSilu,          shard_loader::Activation::kGelu,
    shard_loader::Activation::kGeluTanh,      shard_loader::Activation::kQuickGelu,
    shard_loader::Activation::kRelu,          shard_loader::Activation::kRelu2,
    shard_loader::Activation::kClampedSwiglu,
};

// Roughly normal, within [-4, 4].
Floats RandomFloats(uint64_t seed, int64_t count, float scale = 1.0f);

// Groups of a coded matrix begin at the multiples of the format's.
struct Matrix {
  Matrix(uint64_t seed, int64_t rows, int64_t columns, const shard_loader::WeightFormat& format);
  worker::PackedMatrix packed() const;
  float At(int64_t row, int64_t column) const;

  int64_t rows;
  int64_t columns;
  shard_loader::WeightFormat format;
  std::vector<int64_t> groups;
  std::vector<std::byte> bytes;
};

struct ProductCase {
  int64_t num_rows;
  int64_t outputs;
  int64_t columns;
  shard_loader::WeightFormat format;
  int lanes = 0;  // 0: all columns in one sum; else the lanes of a tree over the columns
  bool bias = false;
  bool bf16_inputs = false;  // rounded to bf16, so that a set that narrows them changes nothing
};

// [roots, num_rows, outputs]
Floats RunProduct(worker::Backend& backend, const ProductCase& test, uint64_t seed);

struct AttentionCase {
  std::vector<int32_t> positions;  // a row each; every row is a sequence of its own, or all are
                                   // rows of one, ascending
  int64_t num_heads;
  int64_t num_kv_heads;
  int64_t head_size;
  int64_t window;
  shard_loader::KvFormat kv_dtype;
  int64_t value_size = 0;   // 0: the head size
  int64_t rotary_size = 0;  // 0: the head size
  int64_t rotary_begin = 0;
  bool interleaved = false;
  float soft_cap = 0;
  bool biased = false;  // by slopes
  bool sinks = false;

  int64_t values() const { return value_size > 0 ? value_size : head_size; }
  int64_t rotary() const { return rotary_size > 0 ? rotary_size : head_size; }
  bool one_sequence = false;
};

struct AttentionInputs {
  explicit AttentionInputs(const AttentionCase& test, uint64_t seed);
  // Rotates and stores `new_keys` and values of all rows, over a cache filled at random.
  Floats RotateAndStore(worker::Backend& backend);  // the rotated queries and keys
  Floats Attend(worker::Backend& backend, int64_t first_row, int64_t num_rows);

  AttentionCase test;
  std::vector<std::byte> cache;
  std::vector<std::vector<uint32_t>> blocks;
  std::vector<const uint32_t*> block_tables;
  std::vector<int32_t> kv_head_of;
  Floats query, key, value, cosines, sines, slopes, sinks;
  worker::KvLayer layer();
};

// Every operation on one set of inputs drawn from `seed`, outputs side by side: for comparing bits.
Floats RunEverything(worker::Backend& backend, uint64_t seed);

bool SameBits(const Floats& a, const Floats& b);
// The largest |a - b|; NaN where one of them is, or there are not as many of both.
double Distance(const Floats& a, const Floats& b);

}  // namespace tessera::tests

#endif  // TESSERA_TESTS_CONFORMANCE_BACKEND_CASES_H_
