#include "shard_loader/format/ocdbt.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/format/crc32c.h"
#include "shard_loader/format/decompress.h"
#include "shard_loader/format/wire.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

constexpr uint32_t kManifestMagic = 0x0cdb3a2a;
constexpr uint32_t kNodeMagic = 0x0cdb20de;
constexpr uint64_t kMostNodeBytes = 64 << 20;   // once inflated
constexpr uint64_t kMostTreeBytes = 256 << 20;  // of all nodes together
constexpr uint64_t kMostFiles = 1 << 20;        // of one table
constexpr uint64_t kMostPathBytes = 65535;      // the format's own limit
constexpr int kMostHeight = 16;

absl::Status Corrupt(std::string_view file, std::string_view what) {
  return absl::DataLossError(absl::StrCat("shard_loader: ", Excerpt(file), ": ", std::string(what),
                                          "; the OCDBT database is corrupt"));
}

// A file that a node names; its children look for theirs below `base`.
struct DataFile {
  std::string path;
  std::string base;
};

// The fields of a decoded manifest or node, one after the other.
class Fields {
 public:
  Fields(std::string_view bytes, std::string file) : rest_(bytes), file_(std::move(file)) {}

  const std::string& file() const { return file_; }
  absl::Status Bad(std::string_view what) const { return Corrupt(file_, what); }

  absl::StatusOr<uint64_t> Number() {
    uint64_t value = 0;
    if (!TakeVarint(&rest_, &value)) return Bad("it is cut off");
    return value;
  }
  absl::StatusOr<std::string_view> Bytes(uint64_t size) {
    if (size > rest_.size()) return Bad("it is cut off");
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }
  absl::StatusOr<int> Byte() {
    ASSIGN_OR_RETURN(const std::string_view byte, Bytes(1));
    return static_cast<uint8_t>(byte[0]);
  }
  // `count` numbers; each takes a byte at least.
  absl::StatusOr<std::vector<uint64_t>> Numbers(uint64_t count) {
    if (count > rest_.size()) return Bad("it is cut off");
    std::vector<uint64_t> numbers(count);
    for (uint64_t& number : numbers) {
      if (!TakeVarint(&rest_, &number)) return Bad("it is cut off");
    }
    return numbers;
  }

 private:
  std::string_view rest_;
  const std::string file_;
};

// Texts of which each shares a prefix with the one before.
absl::StatusOr<std::vector<std::string>> ReadShared(Fields& fields,
                                                    const std::vector<uint64_t>& prefixes,
                                                    const std::vector<uint64_t>& suffixes) {
  std::vector<std::string> texts;
  for (size_t i = 0; i < suffixes.size(); ++i) {
    const uint64_t shared = i == 0 ? 0 : prefixes[i - 1];
    if (i > 0 && shared > texts.back().size()) return fields.Bad("a prefix longer than its text");
    if (shared + suffixes[i] > kMostPathBytes) return fields.Bad("a text longer than any may be");
    std::string text = i == 0 ? std::string() : texts.back().substr(0, shared);
    ASSIGN_OR_RETURN(const std::string_view suffix, fields.Bytes(suffixes[i]));
    text.append(suffix);
    texts.push_back(std::move(text));
  }
  return texts;
}

bool IsPlainPath(std::string_view path) {
  if (path.empty() || path[0] == '/' || path.find('\0') != path.npos) return false;
  for (size_t at = 0; at <= path.size();) {
    const size_t slash = std::min(path.find('/', at), path.size());
    const std::string_view part = path.substr(at, slash - at);
    if (part.empty() || part == "." || part == "..") return false;
    at = slash + 1;
  }
  return true;
}

absl::StatusOr<std::vector<DataFile>> ReadFiles(Fields& fields, const std::string& base) {
  ASSIGN_OR_RETURN(const uint64_t count, fields.Number());
  std::vector<DataFile> files;
  if (count == 0) return files;
  if (count > kMostFiles) return fields.Bad("more files than there can be");
  ASSIGN_OR_RETURN(const std::vector<uint64_t> prefixes, fields.Numbers(count - 1));
  ASSIGN_OR_RETURN(const std::vector<uint64_t> suffixes, fields.Numbers(count));
  ASSIGN_OR_RETURN(const std::vector<uint64_t> bases, fields.Numbers(count));
  ASSIGN_OR_RETURN(const std::vector<std::string> paths, ReadShared(fields, prefixes, suffixes));
  for (size_t i = 0; i < count; ++i) {
    if (bases[i] > paths[i].size()) return fields.Bad("a base longer than its path");
    DataFile file{base + paths[i], base + paths[i].substr(0, bases[i])};
    if (!IsPlainPath(file.path)) {
      return fields.Bad(absl::StrCat("'", Excerpt(file.path), "' is no file inside of its folder"));
    }
    files.push_back(std::move(file));
  }
  return files;
}

// The compressed part of a manifest or node, checked and inflated.
absl::StatusOr<std::string> Open(std::string_view bytes, uint32_t magic, const std::string& file) {
  constexpr size_t kHeader = 4 + 8 + 1 + 1;
  constexpr size_t kFooter = 4;
  if (bytes.size() < kHeader + kFooter) return Corrupt(file, "it is too short");
  uint32_t found = 0;
  for (size_t i = 0; i < 4; ++i) found = found << 8 | static_cast<uint8_t>(bytes[i]);
  uint64_t length = 0;
  std::memcpy(&length, bytes.data() + 4, sizeof(length));
  if (found != magic || length != bytes.size()) return Corrupt(file, "its header is none");
  uint32_t checksum = 0;
  std::memcpy(&checksum, bytes.data() + bytes.size() - kFooter, kFooter);
  bytes.remove_suffix(kFooter);
  if (Crc32c(bytes) != checksum) return Corrupt(file, "its checksum is another");
  bytes.remove_prefix(4 + 8);
  uint64_t version = 0;
  uint64_t compression = 0;
  if (!TakeVarint(&bytes, &version) || !TakeVarint(&bytes, &compression)) {
    return Corrupt(file, "its header is none");
  }
  if (version != 0 || compression > 1) {
    return absl::UnimplementedError(
        absl::StrCat("shard_loader: ", Excerpt(file), ": version ", version, " with compression ",
                     compression, ", supported are version 0 and zstd (1) or none (0)"));
  }
  if (compression == 0) return std::string(bytes);
  return InflateZstd(bytes, kMostNodeBytes, file);
}

struct NodePlace {
  DataFile file;
  ByteRange data;
  int height = 0;
  std::string prefix;  // of all keys below
};

class Reader {
 public:
  explicit Reader(const OcdbtReader& read) : read_(read) {}

  absl::StatusOr<std::map<std::string, OcdbtValue>> Read() {
    ASSIGN_OR_RETURN(const std::string bytes, read_(kOcdbtManifest, {0, UINT64_MAX}));
    ASSIGN_OR_RETURN(const std::string manifest, Open(bytes, kManifestMagic, kOcdbtManifest));
    Fields fields(manifest, kOcdbtManifest);
    ASSIGN_OR_RETURN(NodePlace root, Root(fields));
    std::vector<NodePlace> nodes;
    nodes.push_back(std::move(root));
    while (!nodes.empty()) {
      const NodePlace node = std::move(nodes.back());
      nodes.pop_back();
      RETURN_IF_ERROR(ReadNode(node, &nodes));
    }
    return std::move(values_);
  }

 private:
  // The newest of the inline versions.
  static absl::StatusOr<NodePlace> Root(Fields& fields) {
    RETURN_IF_ERROR(fields.Bytes(16).status());
    ASSIGN_OR_RETURN(const uint64_t kind, fields.Number());
    if (kind != 0) {
      return absl::UnimplementedError(
          absl::StrCat("shard_loader: ", fields.file(),
                       ": the manifest is in numbered files, which is not supported"));
    }
    RETURN_IF_ERROR(fields.Numbers(2).status());
    RETURN_IF_ERROR(fields.Byte().status());
    ASSIGN_OR_RETURN(const uint64_t compression, fields.Number());
    if (compression > 1) return fields.Bad("an unknown compression");
    if (compression == 1) RETURN_IF_ERROR(fields.Bytes(4).status());
    ASSIGN_OR_RETURN(const std::vector<DataFile> files, ReadFiles(fields, ""));
    ASSIGN_OR_RETURN(const uint64_t versions, fields.Number());
    if (versions == 0) return fields.Bad("it has no version");
    RETURN_IF_ERROR(fields.Numbers(versions).status());
    ASSIGN_OR_RETURN(const std::string_view heights, fields.Bytes(versions));
    ASSIGN_OR_RETURN(const std::vector<uint64_t> ids, fields.Numbers(versions));
    ASSIGN_OR_RETURN(const std::vector<uint64_t> offsets, fields.Numbers(versions));
    ASSIGN_OR_RETURN(const std::vector<uint64_t> lengths, fields.Numbers(versions));
    const int height = static_cast<uint8_t>(heights.back());
    if (height > kMostHeight || ids.back() >= files.size())
      return fields.Bad("a root that is none");
    return NodePlace{files[ids.back()], {offsets.back(), lengths.back()}, height, ""};
  }

  absl::Status ReadNode(const NodePlace& node, std::vector<NodePlace>* more) {
    tree_bytes_ += node.data.bytes;
    if (node.data.bytes > kMostNodeBytes || tree_bytes_ > kMostTreeBytes) {
      return Corrupt(node.file.path, "its nodes are larger than a tree can be");
    }
    ASSIGN_OR_RETURN(const std::string bytes, read_(node.file.path, node.data));
    ASSIGN_OR_RETURN(const std::string opened, Open(bytes, kNodeMagic, node.file.path));
    tree_bytes_ += opened.size();
    Fields fields(opened, node.file.path);
    ASSIGN_OR_RETURN(const int height, fields.Byte());
    if (height != node.height) return fields.Bad("a node of another height");
    ASSIGN_OR_RETURN(const std::vector<DataFile> files, ReadFiles(fields, node.file.base));
    ASSIGN_OR_RETURN(const uint64_t entries, fields.Number());
    if (entries == 0) return fields.Bad("a node without entries");
    ASSIGN_OR_RETURN(const std::vector<uint64_t> prefixes, fields.Numbers(entries - 1));
    ASSIGN_OR_RETURN(const std::vector<uint64_t> suffixes, fields.Numbers(entries));
    if (height > 0) {
      ASSIGN_OR_RETURN(const std::vector<uint64_t> common, fields.Numbers(entries));
      ASSIGN_OR_RETURN(const std::vector<std::string> keys, ReadShared(fields, prefixes, suffixes));
      return AddChildren(fields, node, files, keys, common, more);
    }
    ASSIGN_OR_RETURN(const std::vector<std::string> keys, ReadShared(fields, prefixes, suffixes));
    return AddValues(fields, node, files, keys);
  }

  static absl::Status AddChildren(Fields& fields, const NodePlace& node,
                                  const std::vector<DataFile>& files,
                                  const std::vector<std::string>& keys,
                                  const std::vector<uint64_t>& common,
                                  std::vector<NodePlace>* more) {
    ASSIGN_OR_RETURN(const std::vector<uint64_t> ids, fields.Numbers(keys.size()));
    ASSIGN_OR_RETURN(const std::vector<uint64_t> offsets, fields.Numbers(keys.size()));
    ASSIGN_OR_RETURN(const std::vector<uint64_t> lengths, fields.Numbers(keys.size()));
    for (size_t i = 0; i < keys.size(); ++i) {
      if (ids[i] >= files.size() || common[i] > keys[i].size()) {
        return fields.Bad("a child that is none");
      }
      more->push_back({files[ids[i]],
                       {offsets[i], lengths[i]},
                       node.height - 1,
                       node.prefix + keys[i].substr(0, common[i])});
    }
    return absl::OkStatus();
  }

  absl::Status AddValues(Fields& fields, const NodePlace& node, const std::vector<DataFile>& files,
                         const std::vector<std::string>& keys) {
    ASSIGN_OR_RETURN(const std::vector<uint64_t> lengths, fields.Numbers(keys.size()));
    ASSIGN_OR_RETURN(const std::vector<uint64_t> kinds, fields.Numbers(keys.size()));
    uint64_t apart = 0;
    for (const uint64_t kind : kinds) {
      if (kind > 1) return fields.Bad("a value of an unknown kind");
      apart += kind;
    }
    ASSIGN_OR_RETURN(const std::vector<uint64_t> ids, fields.Numbers(apart));
    ASSIGN_OR_RETURN(const std::vector<uint64_t> offsets, fields.Numbers(apart));
    size_t next = 0;
    for (size_t i = 0; i < keys.size(); ++i) {
      OcdbtValue value;
      if (kinds[i] == 1) {
        if (ids[next] >= files.size()) return fields.Bad("a value in a file that is not listed");
        value.file = files[ids[next]].path;
        value.data = {offsets[next++], lengths[i]};
      } else {
        ASSIGN_OR_RETURN(const std::string_view bytes, fields.Bytes(lengths[i]));
        value.inlined = std::string(bytes);
      }
      if (!values_.emplace(node.prefix + keys[i], std::move(value)).second) {
        return fields.Bad("a key that stands there twice");
      }
    }
    return absl::OkStatus();
  }

  const OcdbtReader& read_;
  uint64_t tree_bytes_ = 0;
  std::map<std::string, OcdbtValue> values_;
};

}  // namespace

absl::StatusOr<std::map<std::string, OcdbtValue>> ReadOcdbt(const OcdbtReader& read) {
  return Reader(read).Read();
}

}  // namespace tessera::shard_loader
