#include "shard_loader/format/tf_bundle.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/format/crc32c.h"
#include "shard_loader/format/wire.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

constexpr uint64_t kFooterBytes = 48;
constexpr uint64_t kTrailerBytes = 5;  // of a block: compression and checksum
constexpr uint64_t kMagic = 0xdb4775248b80fb57;
constexpr uint32_t kMaskDelta = 0xa282ead8;  // tensorflow/core/lib/hash/crc32c.h
constexpr int64_t kMostShards = 100'000;     // five digits in the names of the files
constexpr int64_t kMostElements = int64_t{1} << 46;

// By number in tensorflow/core/framework/types.proto.
StoredType TypeOf(uint64_t number) {
  switch (number) {
    case 1:
      return StoredType::kF32;
    case 2:
      return StoredType::kF64;
    case 3:
      return StoredType::kI32;
    case 4:
      return StoredType::kU8;
    case 5:
      return StoredType::kI16;
    case 6:
      return StoredType::kI8;
    case 9:
      return StoredType::kI64;
    case 10:
      return StoredType::kBool;
    case 14:
      return StoredType::kBF16;
    case 19:
      return StoredType::kF16;
    default:
      return StoredType::kOther;  // strings, the graph of objects among them
  }
}

class Reader {
 public:
  explicit Reader(const ByteSource& file) : file_(file) {}

  absl::StatusOr<TfBundle> Read() {
    if (file_.size() < kFooterBytes) return Corrupt("too short for a table");
    ASSIGN_OR_RETURN(const std::string footer,
                     ReadString(file_, file_.size() - kFooterBytes, kFooterBytes));
    uint64_t magic = 0;
    std::memcpy(&magic, footer.data() + kFooterBytes - sizeof(magic), sizeof(magic));
    if (magic != kMagic) return Corrupt("no table of TensorFlow at its end");
    std::string_view rest = footer;
    ByteRange meta;
    ByteRange blocks;
    if (!TakeHandle(&rest, &meta) || !TakeHandle(&rest, &blocks)) {
      return Corrupt("a footer that is none");
    }
    ASSIGN_OR_RETURN(const std::string index, ReadBlock(blocks));
    uint64_t read = 0;
    RETURN_IF_ERROR(ForEach(index, [&](std::string_view, std::string_view value) -> absl::Status {
      ByteRange block;
      if (!TakeHandle(&value, &block)) return Corrupt("an index that is none");
      read += block.bytes;  // blocks may not be read twice
      if (read > file_.size()) return Corrupt("blocks that overlap");
      ASSIGN_OR_RETURN(const std::string entries, ReadBlock(block));
      return ForEach(entries, [&](std::string_view name, std::string_view entry) {
        return name.empty() ? TakeHeader(entry) : TakeEntry(name, entry);
      });
    }));
    if (!has_header_) return Corrupt("no header");
    return std::move(bundle_);
  }

 private:
  absl::Status Corrupt(std::string_view what) const {
    return absl::DataLossError(absl::StrCat("shard_loader: ", file_.name(), ": ", std::string(what),
                                            "; the index is truncated or corrupt"));
  }

  static bool TakeHandle(std::string_view* bytes, ByteRange* range) {
    return TakeVarint(bytes, &range->offset) && TakeVarint(bytes, &range->bytes);
  }

  absl::StatusOr<std::string> ReadBlock(const ByteRange& block) const {
    if (block.bytes > file_.size()) return Corrupt("a block that is longer than the file");
    ASSIGN_OR_RETURN(std::string bytes,
                     ReadString(file_, block.offset, block.bytes + kTrailerBytes));
    const char compression = bytes[block.bytes];
    if (compression != 0) {
      return absl::UnimplementedError(
          absl::StrCat("shard_loader: ", file_.name(), ": a block of the index is compressed (",
                       static_cast<int>(compression), "), which is not supported"));
    }
    uint32_t stored = 0;
    std::memcpy(&stored, bytes.data() + block.bytes + 1, sizeof(stored));
    bytes.resize(block.bytes + 1);  // with the compression
    const uint32_t crc = Crc32c(bytes);
    if (stored != ((crc >> 15 | crc << 17) + kMaskDelta)) return Corrupt("a wrong checksum");
    bytes.resize(block.bytes);
    return bytes;
  }

  // Keys share prefixes with the one before; the restart points at the end are not needed.
  template <typename Consume>
  absl::Status ForEach(std::string_view block, Consume consume) const {
    uint32_t restarts = 0;
    if (block.size() < sizeof(restarts)) return Corrupt("an empty block");
    std::memcpy(&restarts, block.data() + block.size() - sizeof(restarts), sizeof(restarts));
    const uint64_t tail = (uint64_t{restarts} + 1) * sizeof(restarts);
    if (tail > block.size()) return Corrupt("a block without room for its restart points");
    block.remove_suffix(tail);
    std::string key;
    while (!block.empty()) {
      uint64_t shared = 0;
      uint64_t rest = 0;
      uint64_t size = 0;
      const bool fits = TakeVarint(&block, &shared) && TakeVarint(&block, &rest) &&
                        TakeVarint(&block, &size) && shared <= key.size() && rest <= block.size() &&
                        size <= block.size() - rest;
      if (!fits) return Corrupt("an entry past the end of its block");
      key.resize(shared);
      key.append(block.substr(0, rest));
      RETURN_IF_ERROR(consume(key, block.substr(rest, size)));
      block.remove_prefix(rest + size);
    }
    return absl::OkStatus();
  }

  absl::Status TakeHeader(std::string_view bytes) {
    has_header_ = true;
    WireField field;
    while (!bytes.empty()) {
      if (!TakeField(&bytes, &field)) return Corrupt("a header that is none");
      if (field.number == 1 && field.type == 0) {
        if (field.value == 0 || field.value > kMostShards) return Corrupt("a number of files");
        bundle_.shards = static_cast<int>(field.value);
      }
      if (field.number == 2 && field.value != 0) {
        return absl::UnimplementedError(
            absl::StrCat("shard_loader: ", file_.name(), ": numbers are stored big-endian"));
      }
    }
    return absl::OkStatus();
  }

  absl::Status TakeEntry(std::string_view name, std::string_view bytes) {
    TfBundleTensor tensor{.name = std::string(name)};
    WireField field;
    while (!bytes.empty()) {
      if (!TakeField(&bytes, &field)) return Malformed(name);
      if (field.number == 1) tensor.type = TypeOf(field.value);
      if (field.number == 2) RETURN_IF_ERROR(TakeShape(name, field.text, &tensor.shape));
      if (field.number == 3) {
        if (field.value >= static_cast<uint64_t>(kMostShards)) return Malformed(name);
        tensor.shard = static_cast<int>(field.value);
      }
      if (field.number == 4) tensor.data.offset = field.value;
      if (field.number == 5) tensor.data.bytes = field.value;
      if (field.number == 7) {
        return absl::UnimplementedError(
            absl::StrCat("shard_loader: ", file_.name(), ": variable '", Excerpt(name),
                         "' was saved in slices, which is not supported"));
      }
    }
    if (tensor.type == StoredType::kOther) return absl::OkStatus();
    int64_t elements = 0;
    if (!CountElements(tensor.shape, kMostElements, &elements) ||
        static_cast<uint64_t>(elements * BlockOf(tensor.type).bytes) != tensor.data.bytes ||
        tensor.shard >= bundle_.shards) {
      return Malformed(name);
    }
    bundle_.tensors.push_back(std::move(tensor));
    return absl::OkStatus();
  }

  // TensorShapeProto: repeated Dim {size, name}.
  absl::Status TakeShape(std::string_view name, std::string_view bytes,
                         std::vector<int64_t>* shape) const {
    WireField field;
    while (!bytes.empty()) {
      if (!TakeField(&bytes, &field)) return Malformed(name);
      if (field.number != 2 || field.type != 2) continue;
      int64_t size = 0;
      WireField part;
      for (std::string_view dim = field.text; !dim.empty();) {
        if (!TakeField(&dim, &part)) return Malformed(name);
        if (part.number == 1) size = static_cast<int64_t>(part.value);
      }
      if (size < 0 || shape->size() == kMaxDimensions) return Malformed(name);
      shape->push_back(size);
    }
    return absl::OkStatus();
  }

  absl::Status Malformed(std::string_view name) const {
    return Corrupt(
        absl::StrCat("variable '", Excerpt(name), "' has no type, shape and place that fit"));
  }

  const ByteSource& file_;
  TfBundle bundle_;
  bool has_header_ = false;
};

}  // namespace

absl::StatusOr<TfBundle> ReadTfBundle(const ByteSource& index) { return Reader(index).Read(); }

}  // namespace tessera::shard_loader
