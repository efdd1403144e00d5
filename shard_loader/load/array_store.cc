#include "shard_loader/load/array_store.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/format/ocdbt.h"
#include "shard_loader/format/zarr.h"
#include "shard_loader/io/byte_file.h"
#include "shard_loader/io/file.h"
#include "shard_loader/load/chunked.h"
#include "shard_loader/load/joined.h"
#include "shard_loader/model/jax.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostValues = 4 << 20;
constexpr uint64_t kMostMetadataBytes = 1 << 20;
constexpr uint64_t kMostManifestBytes = 64 << 20;
constexpr std::string_view kMetadata = "/.zarray";
constexpr std::string_view kMetadata3 = "/zarr.json";

// The next chunk in row-major order; false after the last.
bool Next(const std::vector<int64_t>& counts, std::vector<int64_t>* chunk) {
  for (size_t i = counts.size(); i-- > 0;) {
    if (++(*chunk)[i] < counts[i]) return true;
    (*chunk)[i] = 0;
  }
  return false;
}

// Lists files of the store in WeightFiles, each once.
class Adder {
 public:
  Adder(const fs::path& folder, const ArrayStore& store, WeightFiles& found)
      : folder_(folder), store_(store), found_(found) {}

  // `key` is that of its metadata.
  absl::Status Add(const std::string& key, const StoredValue& metadata) {
    const bool is_zarr3 = key.ends_with(kMetadata3);
    const std::string array =
        key.substr(0, key.size() - (is_zarr3 ? kMetadata3.size() : kMetadata.size()));
    ASSIGN_OR_RETURN(const ForeignName name, HuggingFaceNameOfFlax(array));
    if (name.name.empty()) return absl::OkStatus();
    ASSIGN_OR_RETURN(const std::string text, TextOf(metadata, key));
    ZarrArray zarr;
    if (is_zarr3) {
      ASSIGN_OR_RETURN(const std::optional<ZarrArray> found, ParseZarr3Array(text, key));
      if (!found.has_value()) return absl::OkStatus();  // a group
      zarr = *found;
    } else {
      ASSIGN_OR_RETURN(zarr, ParseZarrArray(text, key));
    }
    const bool has_shards = !zarr.inner_shape.empty();
    ChunkedTensor tensor{.name = array,
                         .type = zarr.type,
                         .shape = zarr.shape,
                         .chunk_shape = has_shards ? zarr.inner_shape : zarr.chunk_shape,
                         .column_major = zarr.column_major,
                         .codec = zarr.codec};
    RETURN_IF_ERROR(TakeChunks(zarr, &tensor));
    if (!tensor.chunks.empty()) found_.files[tensor.chunks[0].file].header += text;
    ASSIGN_OR_RETURN(FoundTensor whole, FromChunks(std::move(tensor), array));
    if (name.transposed) whole = Turned(std::move(whole));
    return AddTensor(found_, name.name, std::move(whole));
  }

 private:
  absl::StatusOr<std::string> TextOf(const StoredValue& value, const std::string& where) const {
    if (value.data.bytes > kMostMetadataBytes) {
      return absl::DataLossError(
          absl::StrCat("shard_loader: ", where, ": has ", value.data.bytes, " bytes, too many"));
    }
    return BytesOf(value, {0, value.file.empty() ? value.inlined.size() : value.data.bytes});
  }

  // A range inside of the value.
  absl::StatusOr<std::string> BytesOf(const StoredValue& value, ByteRange range) const {
    if (value.file.empty()) return value.inlined.substr(range.offset, range.bytes);
    ASSIGN_OR_RETURN(const std::unique_ptr<ByteFile> file, ByteFile::Open(folder_ / value.file));
    return ReadString(*file, value.data.offset + range.offset, range.bytes);
  }

  absl::Status TakeChunks(const ZarrArray& zarr, ChunkedTensor* tensor) {
    const std::vector<int64_t> counts = zarr.ChunkCounts();
    for (const int64_t count : counts) {
      if (count == 0) return absl::OkStatus();
    }
    std::vector<int64_t> chunk(counts.size(), 0);
    do {
      const std::string key = absl::StrCat(tensor->name, "/", zarr.ChunkName(chunk));
      const auto value = store_.find(key);
      if (value == store_.end()) {
        return Missing(key);
      }
      StoredChunk stored = PlaceOf(value->second);
      for (size_t i = 0; i < chunk.size(); ++i) {
        stored.origin.push_back(chunk[i] * zarr.chunk_shape[i]);
      }
      if (zarr.inner_shape.empty()) {
        RETURN_IF_ERROR(AddChunk(zarr, key, std::move(stored), tensor));
      } else {
        RETURN_IF_ERROR(AddShard(zarr, key, stored, tensor));
      }
    } while (Next(counts, &chunk));
    return absl::OkStatus();
  }

  static absl::Status Missing(const std::string& key) {
    return absl::DataLossError(
        absl::StrCat("shard_loader: chunk ", Excerpt(key),
                     " is missing: the checkpoint is "
                     "incomplete (a chunk that holds nothing but zeros must be stored too)"));
  }

  static absl::Status AddChunk(const ZarrArray& zarr, const std::string& key, StoredChunk chunk,
                               ChunkedTensor* tensor) {
    if (chunk.data.bytes < zarr.checksum_bytes) {
      return absl::DataLossError(
          absl::StrCat("shard_loader: chunk ", Excerpt(key), " has no room for its checksum"));
    }
    chunk.data.bytes -= zarr.checksum_bytes;
    tensor->chunks.push_back(std::move(chunk));
    return absl::OkStatus();
  }

  // The chunks of a shard that lie in the array.
  absl::Status AddShard(const ZarrArray& zarr, const std::string& key, const StoredChunk& shard,
                        ChunkedTensor* tensor) {
    const StoredValue& value = store_.find(key)->second;
    const uint64_t whole = shard.data.bytes;
    const uint64_t index_bytes = zarr.IndexBytes();
    if (whole < index_bytes) {
      return absl::DataLossError(absl::StrCat("shard_loader: shard ", Excerpt(key), " has ", whole,
                                              " bytes, its index ", index_bytes));
    }
    ASSIGN_OR_RETURN(const std::string index,
                     BytesOf(value, {zarr.index_first ? 0 : whole - index_bytes, index_bytes}));
    ASSIGN_OR_RETURN(const std::vector<ByteRange> places, ReadShardIndex(zarr, index, whole, key));
    const std::vector<int64_t> counts = zarr.InnerCounts();
    std::vector<int64_t> number(counts.size(), 0);
    for (const ByteRange& place : places) {
      StoredChunk chunk{.file = shard.file,
                        .data = {shard.data.offset + place.offset, place.bytes}};
      bool inside = true;
      for (size_t i = 0; i < counts.size(); ++i) {
        chunk.origin.push_back(shard.origin[i] + number[i] * zarr.inner_shape[i]);
        inside = inside && chunk.origin[i] < zarr.shape[i];
      }
      Next(counts, &number);
      if (!inside) continue;
      if (place.bytes == 0) return Missing(key);
      RETURN_IF_ERROR(AddChunk(zarr, key, std::move(chunk), tensor));
    }
    return absl::OkStatus();
  }

  // Values without a file of their own become one that lies in memory.
  StoredChunk PlaceOf(const StoredValue& value) {
    const auto [place, is_new] =
        indices_.try_emplace(value.file, static_cast<int>(found_.files.size()));
    if (is_new) found_.files.push_back({value.file, value.file_size, 0, ""});
    WeightFile& file = found_.files[place->second];
    StoredChunk chunk{.file = place->second, .data = value.data};
    if (value.file.empty()) {
      if (is_new) file = {.name = kOcdbtManifest, .inlined = std::string()};
      chunk.data = {file.inlined->size(), value.inlined.size()};
      file.inlined->append(value.inlined);
      file.size = file.inlined->size();
    }
    return chunk;
  }

  const fs::path& folder_;
  const ArrayStore& store_;
  WeightFiles& found_;
  std::map<std::string, int> indices_;
};

}  // namespace

absl::StatusOr<ArrayStore> ListFolder(const fs::path& folder, const fs::path& root) {
  ArrayStore store;
  std::error_code error;
  for (auto entry = fs::recursive_directory_iterator(root, error);
       !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    if (entry->is_symlink(error) || !entry->is_regular_file(error)) continue;
    if (store.size() == kMostValues) {
      return absl::DataLossError(
          absl::StrCat("shard_loader: ", root.string(), " holds more files than a checkpoint has"));
    }
    const uint64_t size = entry->file_size(error);
    store.emplace(entry->path().lexically_relative(root).string(),
                  StoredValue{.file = entry->path().lexically_relative(folder).string(),
                              .file_size = size,
                              .data = {0, size}});
  }
  if (!error) return store;
  return absl::FailedPreconditionError(
      absl::StrCat("shard_loader: cannot list ", root.string(), ": ", error.message()));
}

absl::StatusOr<ArrayStore> ListDatabase(const fs::path& folder, const fs::path& root) {
  const OcdbtReader read = [&](const std::string& file,
                               const ByteRange& range) -> absl::StatusOr<std::string> {
    ASSIGN_OR_RETURN(const std::unique_ptr<ByteFile> opened, ByteFile::Open(root / file));
    const uint64_t whole = std::min(opened->size(), kMostManifestBytes);
    return ReadString(*opened, range.offset, range.bytes == UINT64_MAX ? whole : range.bytes);
  };
  ASSIGN_OR_RETURN(const auto values, ReadOcdbt(read));
  ArrayStore store;
  std::map<std::string, uint64_t> sizes;
  const fs::path below = root.lexically_relative(folder);
  for (const auto& [key, value] : values) {
    StoredValue stored{.data = value.data, .inlined = value.inlined};
    if (!value.file.empty()) {
      const auto [size, is_new] = sizes.try_emplace(value.file, 0);
      if (is_new) {
        ASSIGN_OR_RETURN(const File file, File::Open(root / value.file));
        size->second = file.size();
      }
      if (!Within(value.data.offset, value.data.bytes, size->second)) {
        return absl::DataLossError(absl::StrCat("shard_loader: ", value.file, ": '", Excerpt(key),
                                                "' ends past the ", size->second,
                                                " bytes of the file; it is truncated"));
      }
      stored.file = (below / value.file).lexically_normal().string();
      stored.file_size = size->second;
    }
    store.emplace(key, std::move(stored));
  }
  return store;
}

absl::Status AddZarrArrays(const fs::path& folder, const ArrayStore& store, WeightFiles& found) {
  Adder adder(folder, store, found);
  for (const auto& [key, value] : store) {
    if (!key.ends_with(kMetadata) && !key.ends_with(kMetadata3)) continue;
    RETURN_IF_ERROR(adder.Add(key, value));
  }
  return absl::OkStatus();
}

}  // namespace tessera::shard_loader
