#include "shard_loader/plan/weight_format.h"

#include <vector>

namespace tessera::shard_loader {
namespace {

std::vector<WeightFormat> AllFormats() {
  std::vector<WeightFormat> formats = {DType::kF32, DType::kBF16, DType::kF16};
  for (Codes codes : {Codes::kInt8, Codes::kInt4, Codes::kInt4Offset}) {
    for (int64_t group : {32, 64, 128}) {
      for (DType scales : {DType::kBF16, DType::kF16}) {
        for (bool restart : {true, false}) {
          WeightFormat format(codes, group, scales);
          format.groups_restart = restart;
          formats.push_back(format);
        }
      }
    }
  }
  return formats;
}

const char* CodesName(Codes codes) {
  switch (codes) {
    case Codes::kNone:
      return "";
    case Codes::kInt8:
      return "int8";
    case Codes::kInt4:
      return "int4";
    case Codes::kInt4Offset:
      return "int4o";
  }
  return "?";
}

}  // namespace

std::string WeightFormatName(const WeightFormat& format) {
  if (!format.coded()) return DTypeName(format.dtype);
  return std::string(CodesName(format.codes)) + "-g" + std::to_string(format.group) +
         (format.dtype == DType::kF16 ? "-f16" : "") + (format.groups_restart ? "" : "-whole");
}

std::optional<WeightFormat> ParseWeightFormat(std::string_view name) {
  if (name == "int8") return WeightFormat(Codes::kInt8, 64, DType::kBF16);
  if (name == "int4") return WeightFormat(Codes::kInt4, 32, DType::kBF16);
  for (const WeightFormat& format : AllFormats()) {
    if (WeightFormatName(format) == name) return format;
  }
  return std::nullopt;
}

WeightFormat FormatOfRole(const WeightFormat& format, TensorRole role) {
  const bool decides = role == TensorRole::kRouter || role == TensorRole::kSharedExpertGate ||
                       role == TensorRole::kPositionEmbedding;
  if (decides) return WeightFormat(format.dtype);
  const bool outer = role == TensorRole::kEmbedding || role == TensorRole::kHead;
  if (!outer || (format.codes != Codes::kInt4 && format.codes != Codes::kInt4Offset)) {
    return format;
  }
  WeightFormat wider = format;
  wider.codes = Codes::kInt8;
  return wider;
}

}  // namespace tessera::shard_loader
