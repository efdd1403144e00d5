#include "shard_loader/load/scaled_fp8.h"

#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/plan/rounding.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

// Rows and columns of a block with a scale of its own; 0 where config.json says nothing.
struct BlockSize {
  int64_t rows = 0;
  int64_t columns = 0;
};

absl::StatusOr<BlockSize> BlockSizeOf(const std::string& config) {
  ASSIGN_OR_RETURN(const nlohmann::json json, ParseJsonObject(config, "config.json"));
  const auto quantisation = json.find("quantization_config");
  if (quantisation == json.end() || !quantisation->is_object()) return BlockSize();
  const auto size = quantisation->find("weight_block_size");
  if (size == quantisation->end() || size->is_null()) return BlockSize();
  constexpr int64_t kMost = int64_t{1} << 31;
  const auto good = [](const nlohmann::json& number) {
    return number.is_number_integer() && number >= 1 && number <= kMost;
  };
  if (!size->is_array() || size->size() != 2 || !good((*size)[0]) || !good((*size)[1])) {
    return absl::FailedPreconditionError(
        "shard_loader: config.json: quantization_config's weight_block_size is not two positive "
        "numbers");
  }
  return BlockSize{(*size)[0].get<int64_t>(), (*size)[1].get<int64_t>()};
}

const FoundTensor* ScalesOf(const std::string& name, const WeightFiles& found, std::string* key) {
  for (const char* end : {"_scale_inv", "_scale"}) {
    *key = name + end;
    const auto scales = found.tensors.find(*key);
    if (scales != found.tensors.end()) return &scales->second;
  }
  return nullptr;
}

bool IsNumber(StoredType type) {
  return type == StoredType::kF32 || type == StoredType::kBF16 || type == StoredType::kF16;
}

// What one scale is of; rows 0 where the scales do not fit.
BlockSize ScaleSize(const std::vector<int64_t>& shape, const std::vector<int64_t>& scales,
                    const BlockSize& config) {
  int64_t count = 1;
  for (const int64_t dimension : scales) count *= dimension;
  if (count == 1) return {shape[0], shape[1]};
  const bool by_row = scales[0] == shape[0] && (scales.size() == 1 || scales[1] == 1);
  if (by_row && scales.size() <= 2) return {1, shape[1]};
  if (scales.size() != 2 || config.rows == 0) return {};
  const bool fits =
      scales[0] == CeilDiv(shape[0], config.rows) && scales[1] == CeilDiv(shape[1], config.columns);
  return fits ? config : BlockSize();
}

}  // namespace

absl::Status JoinScaledFp8(const std::string& config, WeightFiles& found) {
  std::vector<std::string> scales_taken;
  BlockSize size;
  bool size_known = false;
  for (auto& [name, tensor] : found.tensors) {
    if (tensor.type != StoredType::kF8E4M3 || tensor.pieces.size() != 1) continue;
    std::string key;
    const FoundTensor* const scales = ScalesOf(name, found, &key);
    if (scales == nullptr || tensor.shape.size() != 2 || tensor.shape[0] == 0 ||
        tensor.shape[1] == 0) {
      continue;
    }
    if (!size_known) {
      ASSIGN_OR_RETURN(size, BlockSizeOf(config));
      size_known = true;
    }
    const BlockSize block = ScaleSize(tensor.shape, scales->shape, size);
    if (block.rows == 0 || !IsNumber(scales->type) || scales->pieces.size() != 1) {
      return absl::FailedPreconditionError(absl::StrCat(
          "shard_loader: tensor '", Excerpt(key), "' is [", absl::StrJoin(scales->shape, ", "),
          "] in ", std::string(StoredTypeName(scales->type)), ", which fits no scales of '",
          Excerpt(name), "' [", absl::StrJoin(tensor.shape, ", "),
          "]: one number, one for each row, or for each block of weight_block_size"));
    }
    SourcePiece& piece = tensor.pieces[0];
    tensor.type = piece.type = StoredType::kScaledFp8;
    piece.blocks_begin = piece.offset;
    piece.scales_file = scales->pieces[0].file;
    piece.scales_begin = scales->pieces[0].offset;
    piece.scales = {scales->type, tensor.shape[0], tensor.shape[1], block.rows, block.columns};
    scales_taken.push_back(std::move(key));
  }
  for (const std::string& key : scales_taken) found.tensors.erase(key);
  return absl::OkStatus();
}

}  // namespace tessera::shard_loader
