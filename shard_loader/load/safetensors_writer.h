// Writes parts of weights, read through their pieces, as a safetensors file.
#ifndef TESSERA_SHARD_LOADER_LOAD_SAFETENSORS_WRITER_H_
#define TESSERA_SHARD_LOADER_LOAD_SAFETENSORS_WRITER_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "shard_loader/load/piece_reader.h"
#include "shard_loader/load/source_piece.h"
#include "shard_loader/model/dtype.h"

namespace tessera::shard_loader {

// A rectangle of what the pieces hold.
struct TensorToWrite {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;  // of the rectangle: its elements, row-major
  Range rows;
  Range columns;
  const std::vector<SourcePiece>* pieces = nullptr;  // borrowed

  uint64_t bytes() const {
    return static_cast<uint64_t>(rows.size() * columns.size() * DTypeSize(dtype));
  }
};

// In the given order. At most a few megabytes are held at a time, but whole tensors that come from
// compressed records. Errors of the reader, and as FileWriter.
absl::Status WriteSafetensors(const std::vector<TensorToWrite>& tensors, PieceReader& reader,
                              const std::filesystem::path& path);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_LOAD_SAFETENSORS_WRITER_H_
