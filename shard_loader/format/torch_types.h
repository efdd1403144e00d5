// PyTorch's names of number formats, as pickles hold them.
#ifndef TESSERA_SHARD_LOADER_FORMAT_TORCH_TYPES_H_
#define TESSERA_SHARD_LOADER_FORMAT_TORCH_TYPES_H_

#include <string_view>

#include "shard_loader/format/stored_type.h"

namespace tessera::shard_loader {

// "torch.FloatStorage"; an UntypedStorage is bytes. False: not known.
bool TorchStorageType(std::string_view name, StoredType* type);

// "torch.float32". False: not known.
bool TorchDType(std::string_view name, StoredType* type);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_FORMAT_TORCH_TYPES_H_
