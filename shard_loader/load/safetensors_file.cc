#include "shard_loader/load/safetensors_file.h"

#include <algorithm>
#include <utility>

#include "shard_loader/format/safetensors.h"
#include "shard_loader/io/file.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

absl::StatusOr<std::string> ReadText(File& file, uint64_t offset, uint64_t size) {
  std::string text(size, '\0');
  RETURN_IF_ERROR(
      file.ReadAt(offset, absl::MakeSpan(reinterpret_cast<std::byte*>(text.data()), size)));
  return text;
}

StoredType TypeOf(const std::string& dtype) {
  constexpr std::pair<const char*, StoredType> kTypes[] = {
      {"F64", StoredType::kF64},        {"F32", StoredType::kF32},
      {"F16", StoredType::kF16},        {"BF16", StoredType::kBF16},
      {"F8_E4M3", StoredType::kF8E4M3}, {"F8_E5M2", StoredType::kF8E5M2},
      {"I64", StoredType::kI64},        {"I32", StoredType::kI32},
      {"I16", StoredType::kI16},        {"I8", StoredType::kI8},
      {"U64", StoredType::kU64},        {"U32", StoredType::kU32},
      {"U16", StoredType::kU16},        {"U8", StoredType::kU8},
      {"BOOL", StoredType::kBool},
  };
  for (const auto& [name, type] : kTypes) {
    if (dtype == name) return type;
  }
  return StoredType::kOther;
}

FoundTensor ToFound(int file, SafetensorsTensor tensor) {
  std::vector<int64_t> strides = RowMajorStrides(tensor.shape);
  return WholeTensor(file, {std::move(tensor.name),
                            TypeOf(tensor.dtype),
                            std::move(tensor.shape),
                            std::move(strides),
                            {tensor.begin, tensor.end - tensor.begin}});
}

}  // namespace

absl::Status ReadSafetensorsFile(const std::filesystem::path& folder, const std::string& name,
                                 WeightFiles& files, SafetensorsTensors* tensors) {
  ASSIGN_OR_RETURN(File file, File::Open(folder / name));
  WeightFile entry{.name = name, .size = file.size()};
  ASSIGN_OR_RETURN(const std::string prefix,
                   ReadText(file, 0, std::min<uint64_t>(kSafetensorsPrefix, file.size())));
  ASSIGN_OR_RETURN(const uint64_t length, SafetensorsHeaderLength(prefix, file.size(), name));
  ASSIGN_OR_RETURN(entry.header, ReadText(file, kSafetensorsPrefix, length));
  entry.data_begin = kSafetensorsPrefix + length;
  ASSIGN_OR_RETURN(std::vector<SafetensorsTensor> listed,
                   ParseSafetensorsHeader(entry.header, file.size(), name));
  const int position = static_cast<int>(files.files.size());
  files.files.push_back(std::move(entry));
  for (SafetensorsTensor& tensor : listed) {
    std::string key = tensor.name;
    tensors->emplace(std::move(key), ToFound(position, std::move(tensor)));
  }
  return absl::OkStatus();
}

}  // namespace tessera::shard_loader
