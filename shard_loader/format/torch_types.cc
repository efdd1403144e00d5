#include "shard_loader/format/torch_types.h"

namespace tessera::shard_loader {
namespace {

struct Name {
  std::string_view name;
  StoredType type;
};

constexpr Name kStorages[] = {
    {"torch.DoubleStorage", StoredType::kF64},
    {"torch.FloatStorage", StoredType::kF32},
    {"torch.HalfStorage", StoredType::kF16},
    {"torch.BFloat16Storage", StoredType::kBF16},
    {"torch.Float8_e4m3fnStorage", StoredType::kF8E4M3},
    {"torch.Float8_e5m2Storage", StoredType::kF8E5M2},
    {"torch.LongStorage", StoredType::kI64},
    {"torch.IntStorage", StoredType::kI32},
    {"torch.ShortStorage", StoredType::kI16},
    {"torch.CharStorage", StoredType::kI8},
    {"torch.ByteStorage", StoredType::kU8},
    {"torch.BoolStorage", StoredType::kBool},
    {"torch.ComplexFloatStorage", StoredType::kComplex64},
    {"torch.ComplexDoubleStorage", StoredType::kComplex128},
    {"torch.UntypedStorage", StoredType::kU8},
    {"torch.storage.UntypedStorage", StoredType::kU8},
};

constexpr Name kDTypes[] = {
    {"torch.float64", StoredType::kF64},
    {"torch.float32", StoredType::kF32},
    {"torch.float16", StoredType::kF16},
    {"torch.bfloat16", StoredType::kBF16},
    {"torch.float8_e4m3fn", StoredType::kF8E4M3},
    {"torch.float8_e5m2", StoredType::kF8E5M2},
    {"torch.int64", StoredType::kI64},
    {"torch.int32", StoredType::kI32},
    {"torch.int16", StoredType::kI16},
    {"torch.int8", StoredType::kI8},
    {"torch.uint64", StoredType::kU64},
    {"torch.uint32", StoredType::kU32},
    {"torch.uint16", StoredType::kU16},
    {"torch.uint8", StoredType::kU8},
    {"torch.bool", StoredType::kBool},
    {"torch.complex64", StoredType::kComplex64},
    {"torch.complex128", StoredType::kComplex128},
};

template <size_t N>
bool Look(const Name (&names)[N], std::string_view name, StoredType* type) {
  for (const Name& row : names) {
    if (row.name != name) continue;
    *type = row.type;
    return true;
  }
  return false;
}

}  // namespace

bool TorchStorageType(std::string_view name, StoredType* type) {
  return Look(kStorages, name, type);
}
bool TorchDType(std::string_view name, StoredType* type) { return Look(kDTypes, name, type); }

}  // namespace tessera::shard_loader
