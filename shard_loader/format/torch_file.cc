#include "shard_loader/format/torch_file.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/format/zip.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

// PROTO 2, LONG1 0x1950a86a20f9469cfc6c, STOP.
constexpr std::string_view kLegacyMagic = "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 j\xa8P\x19.";
constexpr int64_t kLegacyProtocol = 1001;
constexpr int kMaxPathDepth = 16;

}  // namespace

// Fills one TorchFile.
class TorchReader {
 public:
  explicit TorchReader(const ByteSource& file) : file_(file), out_(new TorchFile) {}

  absl::StatusOr<std::unique_ptr<TorchFile>> Read() {
    ASSIGN_OR_RETURN(const std::string front,
                     ReadString(file_, 0, std::min<uint64_t>(file_.size(), kLegacyMagic.size())));
    if (LooksLikeZip(front)) {
      RETURN_IF_ERROR(ReadZip());
    } else if (front == kLegacyMagic) {
      RETURN_IF_ERROR(ReadLegacy());
    } else {
      return Corrupt("neither of PyTorch's containers (no zip archive, no legacy magic number)");
    }
    visits_left_ = 4 * out_->pickle_->num_values();
    RETURN_IF_ERROR(Walk(out_->pickle_->root(), "", 0));
    return std::move(out_);
  }

 private:
  absl::Status Corrupt(std::string_view what) const {
    return absl::DataLossError(absl::StrCat("shard_loader: ", file_.name(), ": ", std::string(what),
                                            "; the file is truncated or corrupt"));
  }

  PickleLimits Limits() const { return {.max_memory = std::max<uint64_t>(file_.size(), 1 << 20)}; }

  absl::Status ReadZip();
  absl::Status CheckByteOrder(const ZipRecord& record) const;
  absl::Status ReadLegacy();
  absl::StatusOr<Pickle> ReadPickle(uint64_t* offset, std::string* text) const;
  absl::Status CheckLegacyHeader(uint64_t* offset) const;
  absl::Status PlaceLegacyStorages(uint64_t offset);
  absl::Status Walk(const PickleValue& value, const std::string& path, int depth);
  absl::Status AddTensor(const PickledTensor& tensor, const std::string& path);

  const ByteSource& file_;
  std::unique_ptr<TorchFile> out_;
  absl::flat_hash_map<std::string, ByteRange> storages_;  // where in the file, by key
  uint64_t visits_left_ = 0;
};

absl::Status TorchReader::CheckByteOrder(const ZipRecord& record) const {
  ASSIGN_OR_RETURN(const std::string order,
                   ReadString(file_, record.offset, std::min<uint64_t>(record.stored_bytes, 16)));
  if (order == "little") return absl::OkStatus();
  return absl::UnimplementedError(absl::StrCat("shard_loader: ", file_.name(),
                                               ": numbers are stored in byte order '",
                                               Excerpt(order), "', expected 'little'"));
}

absl::Status TorchReader::ReadZip() {
  ASSIGN_OR_RETURN(const std::vector<ZipRecord> records, ReadZipDirectory(file_));
  constexpr std::string_view kPickle = "/data.pkl";
  const auto is_pickle = [&](const ZipRecord& record) { return record.name.ends_with(kPickle); };
  const auto found = std::find_if(records.begin(), records.end(), is_pickle);
  if (found == records.end()) return Corrupt("no record NAME/data.pkl in the zip archive");
  const std::string prefix =
      found->name.substr(0, found->name.size() - kPickle.size()) + std::string("/");
  for (const ZipRecord& record : records) {
    if (!record.name.starts_with(prefix)) continue;
    if (record.deflated) {
      return Corrupt(absl::StrCat("record '", Excerpt(record.name),
                                  "' is compressed, which PyTorch never does"));
    }
    if (record.name == prefix + "byteorder") RETURN_IF_ERROR(CheckByteOrder(record));
    if (record.name.starts_with(prefix + "data/")) {
      storages_[record.name.substr(prefix.size() + 5)] = {record.offset, record.bytes};
    }
  }
  ASSIGN_OR_RETURN(out_->text_, ReadString(file_, found->offset, found->stored_bytes));
  absl::StatusOr<Pickle> pickle = Pickle::Parse(out_->text_, file_.name(), Limits());
  if (absl::IsOutOfRange(pickle.status())) {
    return absl::DataLossError(pickle.status().message());
  }
  RETURN_IF_ERROR(pickle.status());
  out_->pickle_ = std::make_unique<Pickle>(*std::move(pickle));
  return absl::OkStatus();
}

// One of several pickles in a row, whose length only its STOP tells.
absl::StatusOr<Pickle> TorchReader::ReadPickle(uint64_t* offset, std::string* text) const {
  const uint64_t left = file_.size() - *offset;
  for (uint64_t window = 256 << 10;; window *= 4) {
    ASSIGN_OR_RETURN(*text, ReadString(file_, *offset, std::min(window, left)));
    absl::StatusOr<Pickle> pickle = Pickle::Parse(*text, file_.name(), Limits());
    if (absl::IsOutOfRange(pickle.status())) {
      if (window < left) continue;
      return absl::DataLossError(pickle.status().message());
    }
    if (pickle.ok()) *offset += pickle->bytes_used();
    return pickle;
  }
}

absl::Status TorchReader::CheckLegacyHeader(uint64_t* offset) const {
  std::string text;
  ASSIGN_OR_RETURN(const Pickle protocol, ReadPickle(offset, &text));
  if (protocol.root().kind != PickleKind::kInt || protocol.root().integer != kLegacyProtocol) {
    return Corrupt("a protocol other than 1001 after the magic number");
  }
  ASSIGN_OR_RETURN(const Pickle system, ReadPickle(offset, &text));
  const PickleValue* little = system.Find(system.root(), "little_endian");
  if (little == nullptr || little->kind != PickleKind::kBool || little->integer != 1) {
    return absl::UnimplementedError(
        absl::StrCat("shard_loader: ", file_.name(), ": numbers are not stored little-endian"));
  }
  return absl::OkStatus();
}

absl::Status TorchReader::ReadLegacy() {
  uint64_t offset = kLegacyMagic.size();
  RETURN_IF_ERROR(CheckLegacyHeader(&offset));
  absl::StatusOr<Pickle> pickle = ReadPickle(&offset, &out_->text_);
  RETURN_IF_ERROR(pickle.status());
  out_->pickle_ = std::make_unique<Pickle>(*std::move(pickle));
  return PlaceLegacyStorages(offset);
}

// A list of keys, then for each its number of elements (8 bytes) and the elements.
absl::Status TorchReader::PlaceLegacyStorages(uint64_t offset) {
  std::string text;
  ASSIGN_OR_RETURN(const Pickle keys, ReadPickle(&offset, &text));
  if (keys.root().kind != PickleKind::kList) return Corrupt("no list of storage keys");
  const auto& known = out_->pickle_->storages();
  Cursor cursor(file_, offset);
  for (const PickleRef ref : keys.root().items) {
    const PickleValue& key = keys.at(ref);
    const auto storage = known.find(key.text);
    if (key.kind != PickleKind::kString || storage == known.end()) {
      return Corrupt("a storage that no tensor names");
    }
    int64_t elements = 0;
    RETURN_IF_ERROR(cursor.Fixed(elements));
    if (elements != storage->second.bytes / BlockOf(storage->second.type).bytes) {
      return Corrupt("a storage of another size than its tensors say");
    }
    const auto bytes = static_cast<uint64_t>(storage->second.bytes);
    if (!storages_.try_emplace(std::string(key.text), ByteRange{cursor.position(), bytes}).second) {
      return Corrupt("a storage key stands there twice");
    }
    RETURN_IF_ERROR(cursor.Skip(bytes));
  }
  return absl::OkStatus();
}

absl::Status TorchReader::AddTensor(const PickledTensor& tensor, const std::string& path) {
  const auto storage = storages_.find(std::string(tensor.storage));
  if (storage == storages_.end()) {
    return Corrupt(absl::StrCat("tensor '", Excerpt(path), "' lies in storage '",
                                Excerpt(tensor.storage), "', which is not in the file"));
  }
  const int64_t size = BlockOf(tensor.type).bytes;
  uint64_t bytes = static_cast<uint64_t>(size);
  for (size_t i = 0; i < tensor.shape.size(); ++i) {
    if (tensor.shape[i] == 0) bytes = 0;
    if (bytes > 0) bytes += (tensor.shape[i] - 1) * tensor.strides[i] * size;
  }
  if (!Within(tensor.offset, bytes, storage->second.bytes)) {
    return Corrupt(absl::StrCat("tensor '", Excerpt(path), "' ends at byte ", tensor.offset + bytes,
                                " of a storage of ", storage->second.bytes));
  }
  const ByteRange data{storage->second.offset + tensor.offset, bytes};
  if (!out_->index_.Add({path, tensor.type, tensor.shape, tensor.strides, data})) {
    return Corrupt(absl::StrCat("two tensors are called '", Excerpt(path), "'"));
  }
  return absl::OkStatus();
}

absl::Status TorchReader::Walk(const PickleValue& value, const std::string& path, int depth) {
  if (visits_left_-- == 0) return Corrupt("containers that hold each other too often");
  const Pickle& pickle = *out_->pickle_;
  if (value.kind == PickleKind::kTensor) return AddTensor(pickle.tensor(value), path);
  const bool is_dict = value.kind == PickleKind::kDict;
  const bool is_list = value.kind == PickleKind::kList || value.kind == PickleKind::kTuple;
  if ((!is_dict && !is_list) || depth == kMaxPathDepth) return absl::OkStatus();
  const std::string base = path.empty() ? path : path + ".";
  for (size_t i = 0; i < value.items.size(); i += is_dict ? 2 : 1) {
    const PickleValue& item = pickle.at(value.items[is_dict ? i + 1 : i]);
    if (item.kind != PickleKind::kTensor && item.items.empty()) continue;
    std::string name = std::to_string(i);
    if (is_dict) {
      const PickleValue& key = pickle.at(value.items[i]);
      if (key.kind == PickleKind::kInt) {
        name = std::to_string(key.integer);
      } else if (key.kind == PickleKind::kString) {
        name = std::string(key.text);
      } else {
        continue;
      }
    }
    RETURN_IF_ERROR(Walk(item, base + name, depth + 1));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<TorchFile>> TorchFile::Read(const ByteSource& file) {
  return TorchReader(file).Read();
}

bool LooksLikeTorchFile(std::string_view front) {
  return LooksLikeZip(front) || front.substr(0, kLegacyMagic.size()) == kLegacyMagic;
}

}  // namespace tessera::shard_loader
