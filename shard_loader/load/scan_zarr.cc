// Checkpoints of JAX that are trees of zarr arrays: T5X and Orbax.
#include <algorithm>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/format/flax.h"
#include "shard_loader/format/ocdbt.h"
#include "shard_loader/io/byte_file.h"
#include "shard_loader/load/array_store.h"
#include "shard_loader/load/formats.h"
#include "shard_loader/load/joined.h"
#include "shard_loader/model/jax.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

namespace fs = std::filesystem;

constexpr const char* kT5xState = "checkpoint";
// What Orbax's managers call the item that holds the parameters.
constexpr const char* kItems[] = {"default", "params", "state", "items", "model"};

bool Exists(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

// Names of the folders in `folder` that `accept` accepts, ascending.
template <typename Accept>
std::vector<std::string> Folders(const fs::path& folder, Accept accept) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_directory(error) && accept(entry.path(), name)) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool IsTree(const fs::path& folder) {
  return Exists(folder / kOcdbtManifest) ||
         !Folders(folder, [](const fs::path& path, const std::string&) {
            return Exists(path / ".zarray") || Exists(path / "zarr.json");
          }).empty();
}

// The last step that a manager left in the folder; the folder itself where there is none.
fs::path LastStep(const fs::path& folder, std::string_view prefix) {
  const std::vector<std::string> steps =
      Folders(folder, [&](const fs::path&, const std::string& name) {
        return name.starts_with(prefix) && name.size() > prefix.size() && name.size() < 20 &&
               name.find_first_not_of("0123456789", prefix.size()) == name.npos;
      });
  if (steps.empty()) return folder;
  // By number: the longer one, then the later one.
  return folder / *std::max_element(steps.begin(), steps.end(), [](const auto& a, const auto& b) {
           return a.size() != b.size() ? a.size() < b.size() : a < b;
         });
}

// The folder of the tree; empty where there is none.
fs::path OrbaxRoot(const fs::path& folder) {
  const fs::path step = LastStep(folder, "");
  for (const fs::path& base : {folder, step}) {
    if (IsTree(base)) return base;
    for (const char* item : kItems) {
      if (IsTree(base / item)) return base / item;
    }
  }
  return {};
}

fs::path T5xRoot(const fs::path& folder) {
  for (const fs::path& root : {folder, LastStep(folder, "checkpoint_")}) {
    if (Exists(root / kT5xState) && IsTree(root)) return root;
  }
  return {};
}

absl::StatusOr<WeightFiles> ScanTree(const fs::path& folder, const fs::path& root) {
  WeightFiles found;
  ASSIGN_OR_RETURN(found.config, ReadConfigJson(folder));
  const bool is_database = Exists(root / kOcdbtManifest);
  ASSIGN_OR_RETURN(const ArrayStore store,
                   is_database ? ListDatabase(folder, root) : ListFolder(folder, root));
  RETURN_IF_ERROR(AddZarrArrays(folder, store, found));
  return found;
}

bool OrbaxIsHere(const fs::path& folder) { return !OrbaxRoot(folder).empty(); }

absl::StatusOr<WeightFiles> ScanOrbax(const fs::path& folder) {
  const fs::path root = OrbaxRoot(folder);
  if (!root.empty()) return ScanTree(folder, root);
  return absl::NotFoundError(
      absl::StrCat("shard_loader: no zarr arrays of Orbax in ", folder.string()));
}

bool T5xIsHere(const fs::path& folder) { return !T5xRoot(folder).empty(); }

// Small parameters stand in the msgpack file itself.
absl::StatusOr<WeightFiles> ScanT5x(const fs::path& folder) {
  const fs::path root = T5xRoot(folder);
  if (root.empty()) {
    return absl::NotFoundError(absl::StrCat("shard_loader: no file '", kT5xState,
                                            "' of T5X with zarr arrays in ", folder.string()));
  }
  ASSIGN_OR_RETURN(WeightFiles found, ScanTree(folder, root));
  const std::string name = (root / kT5xState).lexically_relative(folder).string();
  ASSIGN_OR_RETURN(const std::unique_ptr<ByteFile> file, ByteFile::Open(folder / name));
  ASSIGN_OR_RETURN(const TensorIndex index, ReadFlax(*file, FlaxKind::kState));
  const int position = static_cast<int>(found.files.size());
  found.files.push_back({name, file->size(), 0, IndexText(index)});
  for (const IndexedTensor& stored : index.tensors()) {
    ASSIGN_OR_RETURN(const ForeignName hugging_face, HuggingFaceNameOfFlax(stored.name));
    if (hugging_face.name.empty() || found.tensors.contains(hugging_face.name)) continue;
    FoundTensor tensor = WholeTensor(position, stored);
    if (hugging_face.transposed) tensor = Turned(std::move(tensor));
    RETURN_IF_ERROR(AddTensor(found, hugging_face.name, std::move(tensor)));
  }
  return found;
}

}  // namespace

const CheckpointFormat& T5xFormat() {
  static constexpr CheckpointFormat kFormat{
      "t5x",
      "T5X (`checkpoint` and zarr arrays; gzip, zlib, zstd, blosc) with Hugging Face's names",
      T5xIsHere, ScanT5x};
  return kFormat;
}

const CheckpointFormat& OrbaxFormat() {
  static constexpr CheckpointFormat kFormat{
      "orbax",
      "Orbax trees of zarr 2 and 3 arrays (gzip, zlib, zstd, blosc; shards), in folders or an "
      "OCDBT database, with the names of Hugging Face's Flax models",
      OrbaxIsHere, ScanOrbax};
  return kFormat;
}

}  // namespace tessera::shard_loader
