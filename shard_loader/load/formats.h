// The checkpoint formats that are known, and which of them a folder holds.
#ifndef TESSERA_SHARD_LOADER_LOAD_FORMATS_H_
#define TESSERA_SHARD_LOADER_LOAD_FORMATS_H_

#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "shard_loader/load/weight_files.h"

namespace tessera::shard_loader {

// Defined by the scan_*.cc of this folder.
struct CheckpointFormat {
  const char* name;    // for --format, messages and SUPPORT.md
  const char* covers;  // for SUPPORT.md
  // Whether the names of the files in `folder` are this format's.
  bool (*is_here)(const std::filesystem::path& folder);
  // Reads headers only. NOT_FOUND: something is missing. DATA_LOSS: truncated or corrupt.
  // FAILED_PRECONDITION: headers disagree with each other. UNIMPLEMENTED: a kind that is not read.
  absl::StatusOr<WeightFiles> (*scan)(const std::filesystem::path& folder);
};

// The index of what `tessera convert --tp` writes, and its version.
inline constexpr const char* kCutIndex = "tessera.cut.json";
inline constexpr const char* kCutVersion = "tessera cut 1";

const CheckpointFormat& CutFormat();
const CheckpointFormat& SafetensorsFormat();
const CheckpointFormat& TorchFormat();
const CheckpointFormat& GgufFormat();
const CheckpointFormat& MetaFormat();
const CheckpointFormat& MegatronFormat();
const CheckpointFormat& DeepSpeedFormat();
const CheckpointFormat& UniversalFormat();
const CheckpointFormat& TorchDistFormat();
const CheckpointFormat& FlaxFormat();
const CheckpointFormat& KerasFormat();
const CheckpointFormat& TensorFlowFormat();
const CheckpointFormat& T5xFormat();
const CheckpointFormat& OrbaxFormat();
const CheckpointFormat& NpzFormat();

// In the order in which a folder that holds several is looked at.
const std::vector<const CheckpointFormat*>& CheckpointFormats();

// Their names, in that order: what --format takes.
std::vector<std::string> FormatNames();

// The headers of the weights in `folder`, which are of the format of that name, or where it is
// empty of the first one that is there. NOT_FOUND: no weights. INVALID_ARGUMENT: no such format.
absl::StatusOr<WeightFiles> ScanWeightFiles(const std::filesystem::path& folder,
                                            const std::string& format);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_LOAD_FORMATS_H_
