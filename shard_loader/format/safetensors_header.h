// The JSON of a safetensors header, read event by event without a document in between, so that
// memory stays in proportion to the tensors that it describes.
#ifndef TESSERA_SHARD_LOADER_FORMAT_SAFETENSORS_HEADER_H_
#define TESSERA_SHARD_LOADER_FORMAT_SAFETENSORS_HEADER_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "shard_loader/format/safetensors.h"

namespace tessera::shard_loader {

// Types are checked, values are not: offsets are as they stand in the header, relative to the data.
absl::StatusOr<std::vector<SafetensorsTensor>> ReadSafetensorsJson(std::string_view header,
                                                                   const std::string& file);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_FORMAT_SAFETENSORS_HEADER_H_
