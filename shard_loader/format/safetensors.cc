#include "shard_loader/format/safetensors.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/format/safetensors_header.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

constexpr uint64_t kMostHeaderBytes = 100'000'000;

struct DTypeBits {
  const char* name;
  uint64_t bits;
};

constexpr DTypeBits kDTypes[] = {
    {"BOOL", 8}, {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},
    {"I8", 8},   {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"I16", 16},
    {"U16", 16}, {"F16", 16},    {"BF16", 16},   {"I32", 32},    {"U32", 32},
    {"F32", 32}, {"C64", 64},    {"F64", 64},    {"I64", 64},    {"U64", 64},
};

absl::Status Corrupt(const std::string& file, const std::string& problem) {
  return absl::DataLossError(absl::StrCat("shard_loader: ", file, ": ", problem));
}

absl::Status CorruptTensor(const std::string& file, const std::string& name,
                           const std::string& problem) {
  return Corrupt(file, absl::StrCat("tensor '", Excerpt(name), "' ", problem));
}

// Bytes that the shape asks for; none where they do not fit in 64 bits or are no whole number.
std::optional<uint64_t> BytesOf(const std::vector<int64_t>& shape, uint64_t bits) {
  uint64_t total = bits;
  for (int64_t size : shape) {
    if (__builtin_mul_overflow(total, static_cast<uint64_t>(size), &total)) return std::nullopt;
  }
  if (total % 8 != 0) return std::nullopt;
  return total / 8;
}

absl::Status CheckBytes(const SafetensorsTensor& tensor, const std::string& file) {
  const auto* known = std::find_if(std::begin(kDTypes), std::end(kDTypes),
                                   [&](const DTypeBits& d) { return tensor.dtype == d.name; });
  if (known == std::end(kDTypes)) {
    return CorruptTensor(
        file, tensor.name,
        absl::StrCat("has dtype '", Excerpt(tensor.dtype), "', which the format does not know"));
  }
  if (tensor.begin > tensor.end) {
    return CorruptTensor(
        file, tensor.name,
        absl::StrCat("begins at byte ", tensor.begin, " and ends before it, at ", tensor.end));
  }
  const std::optional<uint64_t> bytes = BytesOf(tensor.shape, known->bits);
  if (!bytes || *bytes != tensor.end - tensor.begin) {
    return CorruptTensor(file, tensor.name,
                         absl::StrCat("has ", tensor.end - tensor.begin,
                                      " bytes, but its shape and dtype ", tensor.dtype, " ask for ",
                                      bytes ? absl::StrCat(*bytes) : "more than a file can have"));
  }
  return absl::OkStatus();
}

// Tensors lie one after the other from 0 to `data_size`; `tensors` ascend by offset.
absl::Status CheckCover(const std::vector<SafetensorsTensor>& tensors, uint64_t data_size,
                        const std::string& file) {
  uint64_t next = 0;
  for (const SafetensorsTensor& tensor : tensors) {
    if (tensor.begin != next) {
      return CorruptTensor(file, tensor.name,
                           absl::StrCat("begins at byte ", tensor.begin, " of the data, ",
                                        tensor.begin < next ? "inside the one before it, which"
                                                            : "but the one before it",
                                        " ends at ", next));
    }
    if (tensor.end > data_size) {
      return CorruptTensor(
          file, tensor.name,
          absl::StrCat("ends at byte ", tensor.end, " of the data but the file has ", data_size,
                       "; it is cut off: download it again"));
    }
    next = tensor.end;
  }
  if (next != data_size) {
    return Corrupt(file,
                   absl::StrCat("the last tensor ends at byte ", next, " of the data, which has ",
                                data_size, ": bytes that belong to none"));
  }
  return absl::OkStatus();
}

absl::Status CheckNames(const std::vector<SafetensorsTensor>& tensors, const std::string& file) {
  std::vector<std::string_view> names;
  names.reserve(tensors.size());
  for (const SafetensorsTensor& tensor : tensors) names.push_back(tensor.name);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice == names.end()) return absl::OkStatus();
  return CorruptTensor(file, std::string(*twice), "stands in the header twice");
}

}  // namespace

absl::StatusOr<uint64_t> SafetensorsHeaderLength(std::string_view prefix, uint64_t file_size,
                                                 const std::string& file) {
  if (prefix.size() < kSafetensorsPrefix || file_size < kSafetensorsPrefix) {
    return Corrupt(file, absl::StrCat("has ", file_size,
                                      " bytes, too few for a safetensors file; download it again"));
  }
  uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = length << 8 | static_cast<unsigned char>(prefix[i]);
  if (length > kMostHeaderBytes || length > file_size - kSafetensorsPrefix) {
    return Corrupt(file, absl::StrCat("announces a header of ", length, " bytes, but the file has ",
                                      file_size, " and a header at most ", kMostHeaderBytes));
  }
  return length;
}

absl::StatusOr<std::vector<SafetensorsTensor>> ParseSafetensorsHeader(std::string_view header,
                                                                      uint64_t file_size,
                                                                      const std::string& file) {
  ASSIGN_OR_RETURN(std::vector<SafetensorsTensor> tensors, ReadSafetensorsJson(header, file));
  for (const SafetensorsTensor& tensor : tensors) RETURN_IF_ERROR(CheckBytes(tensor, file));
  std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  RETURN_IF_ERROR(CheckNames(tensors, file));
  const uint64_t data_begin = kSafetensorsPrefix + header.size();
  if (data_begin > file_size) {
    return Corrupt(file, absl::StrCat("has ", file_size, " bytes, fewer than its header"));
  }
  RETURN_IF_ERROR(CheckCover(tensors, file_size - data_begin, file));
  for (SafetensorsTensor& tensor : tensors) {
    tensor.begin += data_begin;
    tensor.end += data_begin;
  }
  return tensors;
}

std::optional<DType> WeightDType(const std::string& safetensors_dtype) {
  if (safetensors_dtype == "F32") return DType::kF32;
  if (safetensors_dtype == "F16") return DType::kF16;
  if (safetensors_dtype == "BF16") return DType::kBF16;
  return std::nullopt;
}

}  // namespace tessera::shard_loader
