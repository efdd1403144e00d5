#include "shard_loader/format/stored_type.h"

namespace tessera::shard_loader {
namespace {

struct Row {
  StoredType type;
  std::string_view name;
  StoredBlock block;
  bool is_weight;
};

// In the order of the enum.
constexpr Row kRows[] = {
    {StoredType::kF64, "f64", {1, 8}, false},
    {StoredType::kF32, "f32", {1, 4}, true},
    {StoredType::kF16, "f16", {1, 2}, true},
    {StoredType::kBF16, "bf16", {1, 2}, true},
    {StoredType::kF8E4M3, "f8_e4m3", {1, 1}, false},
    {StoredType::kF8E5M2, "f8_e5m2", {1, 1}, false},
    {StoredType::kI64, "i64", {1, 8}, false},
    {StoredType::kI32, "i32", {1, 4}, false},
    {StoredType::kI16, "i16", {1, 2}, false},
    {StoredType::kI8, "i8", {1, 1}, false},
    {StoredType::kU64, "u64", {1, 8}, false},
    {StoredType::kU32, "u32", {1, 4}, false},
    {StoredType::kU16, "u16", {1, 2}, false},
    {StoredType::kU8, "u8", {1, 1}, false},
    {StoredType::kBool, "bool", {1, 1}, false},
    {StoredType::kComplex64, "complex64", {1, 8}, false},
    {StoredType::kComplex128, "complex128", {1, 16}, false},
    {StoredType::kQ4_0, "q4_0", {32, 18}, true},
    {StoredType::kQ4_1, "q4_1", {32, 20}, true},
    {StoredType::kQ5_0, "q5_0", {32, 22}, true},
    {StoredType::kQ5_1, "q5_1", {32, 24}, true},
    {StoredType::kQ8_0, "q8_0", {32, 34}, true},
    {StoredType::kQ4K, "q4_k", {256, 144}, true},
    {StoredType::kQ5K, "q5_k", {256, 176}, true},
    {StoredType::kQ6K, "q6_k", {256, 210}, true},
    {StoredType::kMxfp4, "mxfp4", {32, 16}, true},
    {StoredType::kScaledFp8, "fp8 with scales", {1, 1}, true},
    {StoredType::kOther, "an unknown type", {1, 1}, false},
};

const Row& RowOf(StoredType type) { return kRows[static_cast<int>(type)]; }

}  // namespace

StoredBlock BlockOf(StoredType type) { return RowOf(type).block; }
std::string_view StoredTypeName(StoredType type) { return RowOf(type).name; }
bool IsWeightType(StoredType type) { return RowOf(type).is_weight; }

}  // namespace tessera::shard_loader
