#include "shard_loader/load/safetensors_writer.h"

#include <algorithm>
#include <cstring>

#include <nlohmann/json.hpp>

#include "shard_loader/io/file_writer.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

constexpr int64_t kPartBytes = 8 << 20;
constexpr size_t kAlignment = 8;  // of the first tensor's bytes

const char* NameOf(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "F32";
    case DType::kF16:
      return "F16";
    case DType::kBF16:
      return "BF16";
  }
  return "?";
}

std::string HeaderOf(const std::vector<TensorToWrite>& tensors) {
  nlohmann::json header = {{"__metadata__", {{"format", "pt"}}}};
  uint64_t offset = 0;
  for (const TensorToWrite& tensor : tensors) {
    header[tensor.name] = {{"dtype", NameOf(tensor.dtype)},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + tensor.bytes()}}};
    offset += tensor.bytes();
  }
  std::string text = header.dump();
  text.resize((text.size() + kAlignment - 1) / kAlignment * kAlignment, ' ');
  const uint64_t length = text.size();
  std::string prefix(sizeof(length), '\0');
  std::memcpy(prefix.data(), &length, sizeof(length));
  return prefix + text;
}

// How many rows are read at a time: records are inflated once.
int64_t RowsAtATime(const TensorToWrite& tensor) {
  const bool compressed =
      std::any_of(tensor.pieces->begin(), tensor.pieces->end(),
                  [](const SourcePiece& piece) { return piece.codec != Codec::kNone; });
  const int64_t row_bytes = std::max<int64_t>(1, tensor.columns.size() * DTypeSize(tensor.dtype));
  return compressed ? std::max<int64_t>(1, tensor.rows.size())
                    : std::max<int64_t>(1, kPartBytes / row_bytes);
}

}  // namespace

absl::Status WriteSafetensors(const std::vector<TensorToWrite>& tensors, PieceReader& reader,
                              const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(FileWriter writer, FileWriter::Create(path));
  RETURN_IF_ERROR(writer.Write(HeaderOf(tensors)));
  std::vector<std::byte> buffer;
  for (const TensorToWrite& tensor : tensors) {
    const int64_t step = RowsAtATime(tensor);
    for (int64_t row = tensor.rows.begin; row < tensor.rows.end; row += step) {
      const Range rows{row, std::min(row + step, tensor.rows.end)};
      buffer.resize(
          static_cast<size_t>(rows.size() * tensor.columns.size() * DTypeSize(tensor.dtype)));
      const PieceTarget target{tensor.dtype, rows, tensor.columns, absl::MakeSpan(buffer)};
      for (const SourcePiece& piece : *tensor.pieces) RETURN_IF_ERROR(reader.Read(piece, target));
      RETURN_IF_ERROR(writer.Write(absl::MakeConstSpan(buffer)));
    }
  }
  return writer.Finish();
}

}  // namespace tessera::shard_loader
