#include "shard_loader/format/flax.h"

#include <bit>
#include <utility>

#include "absl/strings/str_cat.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

constexpr int kMaxDepth = 32;
constexpr uint64_t kMostNameBytes = 4096;
constexpr int kArrayType = 1;  // flax.serialization._MsgpackExtType.ndarray

struct Name {
  std::string_view name;
  StoredType type;
};

constexpr Name kTypes[] = {
    {"float64", StoredType::kF64},   {"float32", StoredType::kF32}, {"float16", StoredType::kF16},
    {"bfloat16", StoredType::kBF16}, {"int64", StoredType::kI64},   {"int32", StoredType::kI32},
    {"int16", StoredType::kI16},     {"int8", StoredType::kI8},     {"uint64", StoredType::kU64},
    {"uint32", StoredType::kU32},    {"uint16", StoredType::kU16},  {"uint8", StoredType::kU8},
    {"bool", StoredType::kBool},
};

// What a msgpack value is (github.com/msgpack/msgpack/blob/master/spec.md).
enum class Kind { kScalar, kText, kBytes, kArray, kMap, kExtension };

struct Head {
  Kind kind = Kind::kScalar;
  uint64_t size = 0;     // bytes of text, bytes and extensions; items of arrays; pairs of maps
  int64_t integer = -1;  // kScalar: its value, where it is a number that is not negative
  int extension = 0;
};

class FlaxReader {
 public:
  explicit FlaxReader(const ByteSource& file) : file_(file), cursor_(file) {}

  absl::StatusOr<TensorIndex> Read(FlaxKind kind) {
    RETURN_IF_ERROR(ReadValue("", 0));
    if (cursor_.remaining() != 0) return Corrupt("bytes after the end");
    if (index_.tensors().empty() && kind == FlaxKind::kWeights) return Corrupt("no array");
    return std::move(index_);
  }

 private:
  absl::Status Corrupt(std::string_view what) const {
    return absl::DataLossError(
        absl::StrCat("shard_loader: ", file_.name(), ": msgpack: ", std::string(what), " at byte ",
                     cursor_.position(), "; the file is truncated or corrupt"));
  }

  absl::StatusOr<uint64_t> BigEndian(int bytes);
  absl::StatusOr<Head> ReadHead();
  absl::StatusOr<Head> ReadLongHead(uint8_t byte);
  absl::Status ReadValue(const std::string& path, int depth);
  absl::Status ReadMap(const Head& head, const std::string& path, int depth);
  absl::Status ReadArray(const Head& head, const std::string& path);
  absl::StatusOr<std::string> ReadText();
  absl::StatusOr<std::vector<int64_t>> ReadShape();

  const ByteSource& file_;
  Cursor cursor_;
  TensorIndex index_;
};

absl::StatusOr<uint64_t> FlaxReader::BigEndian(int bytes) {
  uint64_t value = 0;
  for (int i = 0; i < bytes; ++i) {
    uint8_t byte = 0;
    RETURN_IF_ERROR(cursor_.Fixed(byte));
    value = value << 8 | byte;
  }
  return value;
}

absl::StatusOr<Head> FlaxReader::ReadLongHead(uint8_t byte) {
  const auto sized = [&](Kind kind, int width, bool extension) -> absl::StatusOr<Head> {
    Head head{.kind = kind};
    ASSIGN_OR_RETURN(head.size, BigEndian(width));
    if (extension) {
      ASSIGN_OR_RETURN(const uint64_t type, BigEndian(1));
      head.extension = static_cast<int8_t>(type);
    }
    return head;
  };
  if (byte >= 0xc4 && byte <= 0xc6) return sized(Kind::kBytes, 1 << (byte - 0xc4), false);
  if (byte >= 0xc7 && byte <= 0xc9) return sized(Kind::kExtension, 1 << (byte - 0xc7), true);
  if (byte >= 0xd9 && byte <= 0xdb) return sized(Kind::kText, 1 << (byte - 0xd9), false);
  if (byte == 0xdc || byte == 0xdd) return sized(Kind::kArray, byte == 0xdc ? 2 : 4, false);
  if (byte == 0xde || byte == 0xdf) return sized(Kind::kMap, byte == 0xde ? 2 : 4, false);
  if (byte >= 0xd4 && byte <= 0xd8) {  // extensions of 1, 2, 4, 8 and 16 bytes
    ASSIGN_OR_RETURN(const uint64_t type, BigEndian(1));
    return Head{Kind::kExtension, uint64_t{1} << (byte - 0xd4), -1, static_cast<int8_t>(type)};
  }
  if (byte == 0xca || byte == 0xcb) {  // floating-point
    RETURN_IF_ERROR(cursor_.Skip(byte == 0xca ? 4 : 8));
    return Head{};
  }
  if (byte >= 0xcc && byte <= 0xd3) {  // unsigned, then signed, of 1 to 8 bytes
    ASSIGN_OR_RETURN(const uint64_t value, BigEndian(1 << ((byte - 0xcc) % 4)));
    const bool fits = byte < 0xd0 && value <= INT64_MAX;
    return Head{.integer = fits ? static_cast<int64_t>(value) : -1};
  }
  if (byte == 0xc0 || byte == 0xc2 || byte == 0xc3) return Head{};  // nil, false, true
  return Corrupt("a byte that begins no value");
}

absl::StatusOr<Head> FlaxReader::ReadHead() {
  uint8_t byte = 0;
  RETURN_IF_ERROR(cursor_.Fixed(byte));
  Head head;
  if (byte < 0x80) {
    head.integer = byte;
  } else if (byte < 0x90) {
    head = {Kind::kMap, byte & 15U};
  } else if (byte < 0xa0) {
    head = {Kind::kArray, byte & 15U};
  } else if (byte < 0xc0) {
    head = {Kind::kText, byte & 31U};
  } else if (byte < 0xe0) {
    ASSIGN_OR_RETURN(head, ReadLongHead(byte));
  }                                                        // else a small negative number
  const uint64_t least = head.kind == Kind::kMap ? 2 : 1;  // bytes of an item
  if (head.size > cursor_.remaining() / least) {
    return Corrupt(absl::StrCat("a value announces ", head.size, " bytes or items"));
  }
  return head;
}

absl::StatusOr<std::string> FlaxReader::ReadText() {
  ASSIGN_OR_RETURN(const Head head, ReadHead());
  if (head.kind != Kind::kText || head.size > kMostNameBytes) {
    return Corrupt("a name that is no short text");
  }
  return cursor_.Bytes(head.size);
}

absl::StatusOr<std::vector<int64_t>> FlaxReader::ReadShape() {
  ASSIGN_OR_RETURN(const Head head, ReadHead());
  if (head.kind != Kind::kArray || head.size > kMaxDimensions) {
    return Corrupt("an array whose shape is none");
  }
  std::vector<int64_t> shape;
  for (uint64_t i = 0; i < head.size; ++i) {
    ASSIGN_OR_RETURN(const Head size, ReadHead());
    if (size.kind != Kind::kScalar || size.integer < 0) return Corrupt("a shape with no size");
    shape.push_back(size.integer);
  }
  return shape;
}

// The extension's bytes: an array of shape, dtype name and bytes.
absl::Status FlaxReader::ReadArray(const Head& head, const std::string& path) {
  const uint64_t end = cursor_.position() + head.size;
  ASSIGN_OR_RETURN(const Head tuple, ReadHead());
  if (tuple.kind != Kind::kArray || tuple.size != 3) return Corrupt("an array that is no triple");
  IndexedTensor tensor{.name = path};
  ASSIGN_OR_RETURN(tensor.shape, ReadShape());
  ASSIGN_OR_RETURN(const std::string type, ReadText());
  ASSIGN_OR_RETURN(const Head bytes, ReadHead());
  const Name* known = nullptr;
  for (const Name& row : kTypes) {
    if (row.name == type) known = &row;
  }
  if (known == nullptr) {
    return absl::UnimplementedError(absl::StrCat("shard_loader: ", file_.name(), ": array '",
                                                 Excerpt(path), "' has the dtype '", Excerpt(type),
                                                 "', which is not supported"));
  }
  tensor.type = known->type;
  int64_t elements = 0;
  if (bytes.kind != Kind::kBytes || cursor_.position() + bytes.size != end ||
      !CountElements(tensor.shape, int64_t{1} << 46, &elements) ||
      static_cast<uint64_t>(elements * BlockOf(tensor.type).bytes) != bytes.size) {
    return Corrupt(absl::StrCat("the shape of array '", Excerpt(path), "' does not fit its bytes"));
  }
  tensor.strides = RowMajorStrides(tensor.shape);
  tensor.data = {cursor_.position(), bytes.size};
  RETURN_IF_ERROR(cursor_.Skip(bytes.size));
  if (!index_.Add(std::move(tensor))) {
    return Corrupt(absl::StrCat("two arrays are called '", Excerpt(path), "'"));
  }
  return absl::OkStatus();
}

absl::Status FlaxReader::ReadMap(const Head& head, const std::string& path, int depth) {
  for (uint64_t i = 0; i < head.size; ++i) {
    ASSIGN_OR_RETURN(const std::string key, ReadText());
    if (key == "__msgpack_chunked_array__") {
      return absl::UnimplementedError(
          absl::StrCat("shard_loader: ", file_.name(), ": array '", Excerpt(path),
                       "' was cut into chunks, which is not supported"));
    }
    RETURN_IF_ERROR(ReadValue(path.empty() ? key : absl::StrCat(path, ".", key), depth + 1));
  }
  return absl::OkStatus();
}

absl::Status FlaxReader::ReadValue(const std::string& path, int depth) {
  if (depth > kMaxDepth) {
    return absl::ResourceExhaustedError(absl::StrCat("shard_loader: ", file_.name(),
                                                     ": msgpack nests more than ", kMaxDepth,
                                                     " values; the file is refused"));
  }
  ASSIGN_OR_RETURN(const Head head, ReadHead());
  if (depth == 0 && head.kind != Kind::kMap) return Corrupt("no map");
  if (head.kind == Kind::kMap) return ReadMap(head, path, depth);
  if (head.kind == Kind::kExtension && head.extension == kArrayType) return ReadArray(head, path);
  if (head.kind == Kind::kArray) {
    for (uint64_t i = 0; i < head.size; ++i) {
      RETURN_IF_ERROR(ReadValue(absl::StrCat(path, ".", i), depth + 1));
    }
    return absl::OkStatus();
  }
  return head.kind == Kind::kScalar ? absl::OkStatus() : cursor_.Skip(head.size);
}

}  // namespace

absl::StatusOr<TensorIndex> ReadFlax(const ByteSource& file, FlaxKind kind) {
  return FlaxReader(file).Read(kind);
}

}  // namespace tessera::shard_loader
