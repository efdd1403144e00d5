#include "shard_loader/load/array_store.h"

#include <algorithm>
#include <memory>
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

  absl::Status Add(const std::string& array, const StoredValue& metadata) {
    const ForeignName name = HuggingFaceNameOfFlax(array);
    if (name.name.empty()) return absl::OkStatus();
    const std::string where = array + std::string(kMetadata);
    ASSIGN_OR_RETURN(const std::string text, TextOf(metadata, where));
    ASSIGN_OR_RETURN(const ZarrArray zarr, ParseZarrArray(text, where));
    ChunkedTensor tensor{.name = array,
                         .type = zarr.type,
                         .shape = zarr.shape,
                         .chunk_shape = zarr.chunk_shape,
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
    if (value.file.empty()) return value.inlined;
    if (value.data.bytes > kMostMetadataBytes) {
      return absl::DataLossError(
          absl::StrCat("shard_loader: ", where, ": has ", value.data.bytes, " bytes, too many"));
    }
    ASSIGN_OR_RETURN(const std::unique_ptr<ByteFile> file, ByteFile::Open(folder_ / value.file));
    return ReadString(*file, value.data.offset, value.data.bytes);
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
        return absl::DataLossError(
            absl::StrCat("shard_loader: chunk ", Excerpt(key),
                         " is missing: the checkpoint is "
                         "incomplete (a chunk that holds nothing but zeros must be stored too)"));
      }
      StoredChunk stored = PlaceOf(value->second);
      for (size_t i = 0; i < chunk.size(); ++i) {
        stored.origin.push_back(chunk[i] * zarr.chunk_shape[i]);
      }
      tensor->chunks.push_back(std::move(stored));
    } while (Next(counts, &chunk));
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
    if (!key.ends_with(kMetadata)) continue;
    RETURN_IF_ERROR(adder.Add(key.substr(0, key.size() - kMetadata.size()), value));
  }
  return absl::OkStatus();
}

}  // namespace tessera::shard_loader
