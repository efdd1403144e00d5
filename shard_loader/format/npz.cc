#include "shard_loader/format/npz.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "absl/strings/str_cat.h"
#include "shard_loader/format/inflate.h"
#include "shard_loader/format/zip.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr uint64_t kFrontBytes = 16 << 10;  // more than a header of any weight has

struct Descriptor {
  std::string_view text;
  StoredType type;
};

constexpr Descriptor kTypes[] = {
    {"<f8", StoredType::kF64},  {"<f4", StoredType::kF32},  {"<f2", StoredType::kF16},
    {"|V2", StoredType::kBF16}, {"<V2", StoredType::kBF16}, {"<i8", StoredType::kI64},
    {"<i4", StoredType::kI32},  {"<i2", StoredType::kI16},  {"|i1", StoredType::kI8},
    {"<u8", StoredType::kU64},  {"<u4", StoredType::kU32},  {"<u2", StoredType::kU16},
    {"|u1", StoredType::kU8},   {"|b1", StoredType::kBool},
};

absl::Status Corrupt(const std::string& file, std::string_view what) {
  return absl::DataLossError(absl::StrCat("shard_loader: ", file, ": ", std::string(what),
                                          "; the numpy record is corrupt"));
}

// Reads the literal {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }: three keys in any
// order, nothing else.
class LiteralReader {
 public:
  LiteralReader(std::string_view text, const std::string& file) : rest_(text), file_(file) {}

  absl::StatusOr<NpyHeader> Read() {
    if (!Eat("{")) return Broken();
    while (!Eat("}")) {
      std::string_view key;
      if (!Quoted(&key) || !Eat(":")) return Broken();
      RETURN_IF_ERROR(Value(key));
      Eat(",");
    }
    Blanks();
    if (!rest_.empty() || !has_type_ || !has_order_ || !has_shape_) return Broken();
    return std::move(out_);
  }

 private:
  absl::Status Broken() const {
    return Corrupt(file_, absl::StrCat("a header that is not understood at '",
                                       Excerpt(rest_.substr(0, 20)), "'"));
  }

  void Blanks() {
    while (!rest_.empty() && (rest_[0] == ' ' || rest_[0] == '\n')) rest_.remove_prefix(1);
  }

  bool Eat(std::string_view token) {
    Blanks();
    if (!rest_.starts_with(token)) return false;
    rest_.remove_prefix(token.size());
    return true;
  }

  bool Quoted(std::string_view* text) {
    Blanks();
    if (rest_.empty() || (rest_[0] != '\'' && rest_[0] != '"')) return false;
    const size_t end = rest_.find(rest_[0], 1);
    if (end == rest_.npos) return false;
    *text = rest_.substr(1, end - 1);
    rest_.remove_prefix(end + 1);
    return true;
  }

  absl::Status Value(std::string_view key) {
    if (key == "descr" && !has_type_) return Type();
    if (key == "shape" && !has_shape_) return Shape();
    if (key != "fortran_order" || has_order_) return Broken();
    has_order_ = true;
    out_.fortran_order = Eat("True");
    return out_.fortran_order || Eat("False") ? absl::OkStatus() : Broken();
  }

  absl::Status Type() {
    has_type_ = true;
    std::string_view name = "a structure";
    Quoted(&name);
    for (const Descriptor& known : kTypes) {
      if (name != known.text) continue;
      out_.type = known.type;
      return absl::OkStatus();
    }
    return absl::UnimplementedError(absl::StrCat("shard_loader: ", file_, ": numpy type '",
                                                 Excerpt(name),
                                                 "' is not supported; nothing but little-endian "
                                                 "numbers is read"));
  }

  absl::Status Shape() {
    has_shape_ = true;
    if (!Eat("(")) return Broken();
    while (!Eat(")")) {
      Blanks();
      int64_t size = 0;
      const auto [stop, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), size);
      if (error != std::errc() || size < 0 || out_.shape.size() == kMaxDimensions) return Broken();
      rest_.remove_prefix(static_cast<size_t>(stop - rest_.data()));
      Eat("L");  // Python 2
      out_.shape.push_back(size);
      if (!Eat(",") && !rest_.starts_with(")")) return Broken();
    }
    return absl::OkStatus();
  }

  std::string_view rest_;
  const std::string& file_;
  NpyHeader out_;
  bool has_type_ = false;
  bool has_order_ = false;
  bool has_shape_ = false;
};

// The first bytes of a record, inflated.
absl::StatusOr<std::string> FrontOf(const ByteSource& file, const ZipRecord& record) {
  ASSIGN_OR_RETURN(std::string stored,
                   ReadString(file, record.offset, std::min(record.stored_bytes, kFrontBytes)));
  if (!record.deflated) return stored;
  std::string front(std::min(record.bytes, kFrontBytes), '\0');
  ASSIGN_OR_RETURN(
      const size_t size,
      InflateFront({reinterpret_cast<const std::byte*>(stored.data()), stored.size()},
                   absl::MakeSpan(reinterpret_cast<std::byte*>(front.data()), front.size()),
                   file.name()));
  front.resize(size);
  return front;
}

absl::StatusOr<IndexedTensor> ReadRecord(const ByteSource& file, const ZipRecord& record) {
  const std::string where = absl::StrCat(file.name(), ": record '", Excerpt(record.name), "'");
  ASSIGN_OR_RETURN(const std::string front, FrontOf(file, record));
  ASSIGN_OR_RETURN(NpyHeader header, ParseNpyHeader(front, where));
  int64_t elements = 0;
  const int64_t size = BlockOf(header.type).bytes;
  if (!CountElements(header.shape, int64_t{1} << 46, &elements) ||
      header.data_offset > record.bytes ||
      static_cast<uint64_t>(elements * size) != record.bytes - header.data_offset) {
    return Corrupt(where, absl::StrCat("its shape does not fit its ", record.bytes, " bytes"));
  }
  IndexedTensor tensor{.type = header.type, .shape = std::move(header.shape)};
  tensor.name = record.name.substr(0, record.name.size() - std::string_view(".npy").size());
  tensor.strides = RowMajorStrides(tensor.shape);
  if (header.fortran_order) {
    std::vector<int64_t> reversed(tensor.shape.rbegin(), tensor.shape.rend());
    reversed = RowMajorStrides(reversed);
    tensor.strides.assign(reversed.rbegin(), reversed.rend());
  }
  if (record.deflated) {
    tensor.data = {record.offset, record.stored_bytes};
    tensor.codec = Codec::kDeflate;
    tensor.inflated_bytes = record.bytes;
    tensor.inflated_offset = header.data_offset;
  } else {
    tensor.data = {record.offset + header.data_offset, static_cast<uint64_t>(elements * size)};
  }
  return tensor;
}

}  // namespace

absl::StatusOr<NpyHeader> ParseNpyHeader(std::string_view front, const std::string& file) {
  if (!front.starts_with(kMagic) || front.size() < 10) return Corrupt(file, "no numpy magic");
  const auto byte = [&](size_t i) { return static_cast<uint64_t>(static_cast<uint8_t>(front[i])); };
  const uint64_t version = byte(6);
  if (version < 1 || version > 3) return Corrupt(file, "an unknown version of the header");
  const uint64_t begin = version == 1 ? 10 : 12;
  if (front.size() < begin) return Corrupt(file, "a header that is cut off");
  uint64_t length = byte(8) | byte(9) << 8;
  if (version > 1) length |= byte(10) << 16 | byte(11) << 24;
  if (length > front.size() - begin) return Corrupt(file, "a header that is cut off or too long");
  ASSIGN_OR_RETURN(NpyHeader header, LiteralReader(front.substr(begin, length), file).Read());
  header.data_offset = begin + length;
  return header;
}

absl::StatusOr<TensorIndex> ReadNpz(const ByteSource& file) {
  ASSIGN_OR_RETURN(const std::vector<ZipRecord> records, ReadZipDirectory(file));
  TensorIndex index;
  for (const ZipRecord& record : records) {
    if (!record.name.ends_with(".npy")) continue;
    ASSIGN_OR_RETURN(IndexedTensor tensor, ReadRecord(file, record));
    index.Add(std::move(tensor));  // the directory has no name twice
  }
  if (index.tensors().empty()) return Corrupt(file.name(), "the archive holds no .npy record");
  return index;
}

}  // namespace tessera::shard_loader
