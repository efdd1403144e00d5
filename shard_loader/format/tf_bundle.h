// The index of a TensorFlow checkpoint (NAME.index beside NAME.data-XXXXX-of-YYYYY): a sorted table
// in LevelDB's format (tensorflow/core/lib/io/format.cc, table_format.txt) of a tensor's name to a
// BundleEntryProto (tensorflow/core/protobuf/tensor_bundle.proto).
#ifndef TESSERA_SHARD_LOADER_FORMAT_TF_BUNDLE_H_
#define TESSERA_SHARD_LOADER_FORMAT_TF_BUNDLE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "shard_loader/format/byte_source.h"
#include "shard_loader/format/stored_type.h"
#include "shard_loader/format/tensor_index.h"

namespace tessera::shard_loader {

struct TfBundleTensor {
  std::string name;
  StoredType type = StoredType::kOther;
  std::vector<int64_t> shape;
  int shard = 0;  // of TfBundle::shards
  ByteRange data;
};

struct TfBundle {
  int shards = 1;
  std::vector<TfBundleTensor> tensors;  // in the order of their names
};

// DATA_LOSS: no such table, or a corrupt one. UNIMPLEMENTED: big-endian numbers, a variable that
// was saved in slices, blocks compressed with snappy.
absl::StatusOr<TfBundle> ReadTfBundle(const ByteSource& index);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_FORMAT_TF_BUNDLE_H_
