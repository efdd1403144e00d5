#include "shard_loader/format/gguf.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

constexpr std::string_view kMagic = "GGUF";
constexpr uint64_t kMostKeys = 1 << 16;
constexpr uint64_t kMostTensors = 1 << 17;
constexpr uint64_t kMostNameBytes = 1 << 16;
constexpr uint64_t kLeastKeyBytes = 8 + 1 + 4 + 1;             // length, name, type, value
constexpr uint64_t kLeastTensorBytes = 8 + 1 + 4 + 8 + 4 + 8;  // name, dimension, type, offset
constexpr uint32_t kMostDimensions = 4;
constexpr uint64_t kDefaultAlignment = 32;

struct GgmlType {
  uint32_t number;
  StoredType type;
};

constexpr GgmlType kTypes[] = {
    {0, StoredType::kF32},  {1, StoredType::kF16},  {2, StoredType::kQ4_0}, {3, StoredType::kQ4_1},
    {6, StoredType::kQ5_0}, {7, StoredType::kQ5_1}, {8, StoredType::kQ8_0}, {12, StoredType::kQ4K},
    {13, StoredType::kQ5K}, {14, StoredType::kQ6K}, {24, StoredType::kI8},  {25, StoredType::kI16},
    {26, StoredType::kI32}, {27, StoredType::kI64}, {28, StoredType::kF64}, {30, StoredType::kBF16},
};

// The quantisations of ggml that are not read, by their numbers.
constexpr std::pair<uint32_t, const char*> kUnsupported[] = {
    {9, "Q8_1"},     {10, "Q2_K"},  {11, "Q3_K"},   {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"},
    {18, "IQ3_XXS"}, {19, "IQ1_S"}, {20, "IQ4_NL"}, {21, "IQ3_S"}, {22, "IQ2_S"},   {23, "IQ4_XS"},
    {29, "IQ1_M"},   {34, "TQ1_0"}, {35, "TQ2_0"},  {39, "MXFP4"},
};

// Bytes of a value of fixed size; 0 for strings and arrays, and for unknown types.
uint64_t FixedSize(GgufType type) {
  switch (type) {
    case GgufType::kU8:
    case GgufType::kI8:
    case GgufType::kBool:
      return 1;
    case GgufType::kU16:
    case GgufType::kI16:
      return 2;
    case GgufType::kU32:
    case GgufType::kI32:
    case GgufType::kF32:
      return 4;
    case GgufType::kU64:
    case GgufType::kI64:
    case GgufType::kF64:
      return 8;
    default:
      return 0;
  }
}

}  // namespace

// Fills one GgufFile.
class GgufReader {
 public:
  explicit GgufReader(const ByteSource& file) : file_(file), cursor_(file), out_(new GgufFile) {}

  absl::StatusOr<std::unique_ptr<GgufFile>> Read() {
    uint64_t num_tensors = 0;
    uint64_t num_keys = 0;
    RETURN_IF_ERROR(ReadVersion());
    RETURN_IF_ERROR(cursor_.Fixed(num_tensors));
    RETURN_IF_ERROR(cursor_.Fixed(num_keys));
    if (num_keys > std::min(kMostKeys, cursor_.remaining() / kLeastKeyBytes)) {
      return Corrupt(absl::StrCat("it announces ", num_keys, " metadata values"));
    }
    for (uint64_t i = 0; i < num_keys; ++i) RETURN_IF_ERROR(ReadKey());
    ASSIGN_OR_RETURN(const uint64_t alignment, Alignment());
    if (num_tensors > std::min(kMostTensors, cursor_.remaining() / kLeastTensorBytes)) {
      return Corrupt(absl::StrCat("it announces ", num_tensors, " tensors"));
    }
    if (num_tensors == 0) return Corrupt("it holds no tensor");
    std::vector<IndexedTensor> tensors;
    for (uint64_t i = 0; i < num_tensors; ++i) {
      ASSIGN_OR_RETURN(IndexedTensor tensor, ReadTensor(alignment));
      tensors.push_back(std::move(tensor));
    }
    RETURN_IF_ERROR(Place(std::move(tensors), alignment));
    return std::move(out_);
  }

 private:
  absl::Status Corrupt(std::string_view what) const {
    return absl::DataLossError(absl::StrCat("shard_loader: ", file_.name(), ": ", std::string(what),
                                            " (byte ", cursor_.position(),
                                            "); the GGUF file is truncated or corrupt"));
  }

  absl::Status ReadVersion();
  absl::Status ReadKey();
  absl::StatusOr<std::string> ReadName();
  absl::Status ReadArray(GgufValue* value);
  absl::Status AppendText(GgufValue* value);
  absl::StatusOr<uint64_t> Alignment() const;
  absl::StatusOr<IndexedTensor> ReadTensor(uint64_t alignment);
  absl::StatusOr<StoredType> ReadType(const std::string& name);
  absl::Status Place(std::vector<IndexedTensor> tensors, uint64_t alignment);

  const ByteSource& file_;
  Cursor cursor_;
  std::unique_ptr<GgufFile> out_;
};

absl::Status GgufReader::ReadVersion() {
  ASSIGN_OR_RETURN(const std::string magic, cursor_.Bytes(kMagic.size()));
  if (magic != kMagic) return Corrupt("it does not begin with 'GGUF'");
  uint32_t version = 0;
  RETURN_IF_ERROR(cursor_.Fixed(version));
  if (version == 2 || version == 3) return absl::OkStatus();
  const bool swapped = version == 2U << 24 || version == 3U << 24;
  return absl::UnimplementedError(
      absl::StrCat("shard_loader: ", file_.name(), ": ",
                   swapped ? "the GGUF file is big-endian" : absl::StrCat("GGUF version ", version),
                   "; supported are versions 2 and 3, little-endian"));
}

absl::StatusOr<std::string> GgufReader::ReadName() {
  uint64_t size = 0;
  RETURN_IF_ERROR(cursor_.Fixed(size));
  if (size == 0 || size > kMostNameBytes) return Corrupt("a name is empty or too long");
  return cursor_.Bytes(size);
}

// The string at the cursor, with its length before it.
absl::Status GgufReader::AppendText(GgufValue* value) {
  uint64_t size = 0;
  RETURN_IF_ERROR(cursor_.Fixed(size));
  ASSIGN_OR_RETURN(const std::string text, cursor_.Bytes(size));
  value->bytes.append(reinterpret_cast<const char*>(&size), sizeof(size));
  value->bytes += text;
  return absl::OkStatus();
}

absl::Status GgufReader::ReadArray(GgufValue* value) {
  value->is_array = true;
  RETURN_IF_ERROR(cursor_.Fixed(value->type));
  RETURN_IF_ERROR(cursor_.Fixed(value->count));
  const uint64_t size = FixedSize(value->type);
  if (size == 0 && value->type != GgufType::kString) {
    return Corrupt(
        absl::StrCat("an array holds values of type ", static_cast<uint32_t>(value->type)));
  }
  const uint64_t least = size == 0 ? sizeof(uint64_t) : size;
  if (value->count > cursor_.remaining() / least) {
    return Corrupt(absl::StrCat("an array announces ", value->count, " values"));
  }
  if (size > 0) {
    ASSIGN_OR_RETURN(value->bytes, cursor_.Bytes(value->count * size));
    return absl::OkStatus();
  }
  for (uint64_t i = 0; i < value->count; ++i) RETURN_IF_ERROR(AppendText(value));
  return absl::OkStatus();
}

absl::Status GgufReader::ReadKey() {
  ASSIGN_OR_RETURN(std::string key, ReadName());
  GgufValue value;
  RETURN_IF_ERROR(cursor_.Fixed(value.type));
  const uint64_t size = FixedSize(value.type);
  if (size > 0) {
    ASSIGN_OR_RETURN(value.bytes, cursor_.Bytes(size));
  } else if (value.type == GgufType::kString) {
    RETURN_IF_ERROR(AppendText(&value));
  } else if (value.type == GgufType::kArray) {
    RETURN_IF_ERROR(ReadArray(&value));
  } else {
    return Corrupt(absl::StrCat("'", Excerpt(key), "' has a value of the unknown type ",
                                static_cast<uint32_t>(value.type)));
  }
  if (!out_->metadata_.emplace(key, std::move(value)).second) {
    return Corrupt(absl::StrCat("'", Excerpt(key), "' stands there twice"));
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> GgufReader::Alignment() const {
  const GgufValue* value = out_->Find("general.alignment");
  if (value == nullptr) return kDefaultAlignment;
  const std::optional<int64_t> alignment = value->Integer();
  if (!alignment || *alignment <= 0 || (*alignment & (*alignment - 1)) != 0) {
    return Corrupt("general.alignment is no power of two");
  }
  return static_cast<uint64_t>(*alignment);
}

absl::StatusOr<StoredType> GgufReader::ReadType(const std::string& name) {
  uint32_t number = 0;
  RETURN_IF_ERROR(cursor_.Fixed(number));
  for (const GgmlType& known : kTypes) {
    if (known.number == number) return known.type;
  }
  for (const auto& [unsupported, type_name] : kUnsupported) {
    if (unsupported != number) continue;
    return absl::UnimplementedError(
        absl::StrCat("shard_loader: ", file_.name(), ": tensor '", Excerpt(name),
                     "' is quantised as ", type_name,
                     "; supported are F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K and "
                     "Q6_K"));
  }
  return Corrupt(absl::StrCat("tensor '", Excerpt(name), "' has the unknown type ", number));
}

// A tensor's header; data.offset is still relative to the data.
absl::StatusOr<IndexedTensor> GgufReader::ReadTensor(uint64_t alignment) {
  IndexedTensor tensor;
  ASSIGN_OR_RETURN(tensor.name, ReadName());
  uint32_t dimensions = 0;
  RETURN_IF_ERROR(cursor_.Fixed(dimensions));
  if (dimensions == 0 || dimensions > kMostDimensions) {
    return Corrupt(
        absl::StrCat("tensor '", Excerpt(tensor.name), "' has ", dimensions, " dimensions"));
  }
  tensor.shape.resize(dimensions);
  for (uint32_t i = dimensions; i-- > 0;) RETURN_IF_ERROR(cursor_.Fixed(tensor.shape[i]));
  ASSIGN_OR_RETURN(tensor.type, ReadType(tensor.name));
  RETURN_IF_ERROR(cursor_.Fixed(tensor.data.offset));
  const StoredBlock block = BlockOf(tensor.type);
  int64_t elements = 0;
  if (!CountElements(tensor.shape, int64_t{1} << 46, &elements) ||
      tensor.shape.back() % block.elements != 0) {
    return Corrupt(
        absl::StrCat("tensor '", Excerpt(tensor.name), "' has a shape that its type cannot have"));
  }
  tensor.strides = RowMajorStrides(tensor.shape);
  tensor.data.bytes = static_cast<uint64_t>(elements / block.elements * block.bytes);
  if (tensor.data.offset % alignment != 0) {
    return Corrupt(absl::StrCat("tensor '", Excerpt(tensor.name), "' is not aligned"));
  }
  return tensor;
}

absl::Status GgufReader::Place(std::vector<IndexedTensor> tensors, uint64_t alignment) {
  const uint64_t over = cursor_.position() % alignment;
  const uint64_t begin = cursor_.position() + (over == 0 ? 0 : alignment - over);
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  for (IndexedTensor& tensor : tensors) {
    const std::string name = Excerpt(tensor.name);
    if (begin > file_.size() ||
        !Within(tensor.data.offset, tensor.data.bytes, file_.size() - begin)) {
      return Corrupt(absl::StrCat("tensor '", name, "' runs past the end of the file"));
    }
    tensor.data.offset += begin;
    if (tensor.data.bytes > 0) {
      ranges.emplace_back(tensor.data.offset, tensor.data.offset + tensor.data.bytes);
    }
    if (!out_->index_.Add(std::move(tensor))) {
      return Corrupt(absl::StrCat("two tensors are called '", name, "'"));
    }
  }
  std::sort(ranges.begin(), ranges.end());
  for (size_t i = 1; i < ranges.size(); ++i) {
    if (ranges[i].first < ranges[i - 1].second) return Corrupt("two tensors overlap");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<GgufFile>> GgufFile::Read(const ByteSource& file) {
  return GgufReader(file).Read();
}

const GgufValue* GgufFile::Find(std::string_view key) const {
  const auto found = metadata_.find(key);
  return found == metadata_.end() ? nullptr : &found->second;
}

bool LooksLikeGguf(std::string_view front) { return front.starts_with(kMagic); }

}  // namespace tessera::shard_loader
