// What `tessera convert --tp` writes: safetensors files by rank, with our names of the weights, and
// an index that says which part of which weight each tensor is.
#include <utility>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/format/safetensors.h"
#include "shard_loader/io/file.h"
#include "shard_loader/load/formats.h"
#include "shard_loader/load/safetensors_file.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int64_t kMostElements = int64_t{1} << 46;

absl::Status Corrupt(std::string_view what) {
  return absl::DataLossError(
      absl::StrCat("shard_loader: ", kCutIndex, ": ", std::string(what), "; convert again"));
}

bool IsHere(const fs::path& folder) {
  std::error_code error;
  return fs::exists(folder / kCutIndex, error);
}

bool TakeRange(const json& part, const char* key, Range* range) {
  const auto found = part.find(key);
  const bool is_range = found != part.end() && found->is_array() && found->size() == 2 &&
                        (*found)[0].is_number_unsigned() && (*found)[1].is_number_unsigned();
  if (!is_range) return false;
  const auto begin = (*found)[0].get<uint64_t>();
  const auto end = (*found)[1].get<uint64_t>();
  *range = {static_cast<int64_t>(begin), static_cast<int64_t>(end)};
  return begin <= end && end <= static_cast<uint64_t>(kMostElements);
}

class Scanner {
 public:
  explicit Scanner(const fs::path& folder) : folder_(folder) {}

  absl::StatusOr<WeightFiles> Scan() {
    ASSIGN_OR_RETURN(found_.config, ReadConfigJson(folder_));
    found_.by_role = true;
    ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(folder_ / kCutIndex, 64 << 20));
    ASSIGN_OR_RETURN(
        const json index,
        ParseJsonObject(text, kCutIndex, {.max_bytes = 64 << 20, .refuse_duplicates = true}));
    if (index.value("format", json()) != kCutVersion) {
      return absl::UnimplementedError(absl::StrCat("shard_loader: ", kCutIndex,
                                                   ": is of another version than this program; "
                                                   "convert the checkpoint again"));
    }
    found_.files.push_back({kCutIndex, text.size(), text.size(), text});
    const auto tensors = index.find("tensors");
    if (tensors == index.end() || !tensors->is_object()) return Corrupt("it lists no tensors");
    for (const auto& [name, entry] : tensors->items()) RETURN_IF_ERROR(Add(name, entry));
    return std::move(found_);
  }

 private:
  absl::Status Add(const std::string& name, const json& entry) {
    FoundTensor tensor{.name = name};
    const auto bad = [&] { return Corrupt(absl::StrCat("tensor '", Excerpt(name), "'")); };
    const auto shape = entry.is_object() ? entry.find("shape") : entry.end();
    const auto parts = entry.is_object() ? entry.find("parts") : entry.end();
    if (!entry.is_object() || shape == entry.end() || parts == entry.end() || !shape->is_array() ||
        shape->empty() || shape->size() > 2 || !parts->is_array()) {
      return bad();
    }
    for (const json& size : *shape) {
      if (!size.is_number_unsigned() || size.get<uint64_t>() > kMostElements) return bad();
      tensor.shape.push_back(size.get<int64_t>());
    }
    for (const json& part : *parts) {
      Range rows;
      Range columns;
      const auto file = part.is_object() ? part.find("file") : part.end();
      if (!part.is_object() || file == part.end() || !file->is_string() ||
          !TakeRange(part, "rows", &rows) || !TakeRange(part, "columns", &columns)) {
        return bad();
      }
      ASSIGN_OR_RETURN(const FoundTensor stored, Find(file->get<std::string>(), name));
      const SourcePiece* piece = stored.pieces.empty() ? nullptr : &stored.pieces[0];
      if (piece == nullptr || piece->rows.size() != rows.size() ||
          piece->columns.size() != columns.size()) {
        return Corrupt(absl::StrCat("tensor '", Excerpt(name), "' has another shape in ",
                                    Excerpt(file->get<std::string>())));
      }
      tensor.type = stored.type;
      tensor.pieces.push_back(MovedTo(*piece, rows.begin, columns.begin));
    }
    found_.tensors.emplace(name, std::move(tensor));
    return absl::OkStatus();
  }

  absl::StatusOr<FoundTensor> Find(const std::string& file, const std::string& name) {
    const bool plain = !file.empty() && file[0] != '.' && file.ends_with(".safetensors") &&
                       file.find_first_of(std::string_view("/\\\0", 3)) == file.npos;
    if (!plain) return Corrupt(absl::StrCat("'", Excerpt(file), "' is no plain name of a file"));
    auto known = opened_.find(file);
    if (known == opened_.end()) {
      SafetensorsTensors tensors;
      const absl::Status read = ReadSafetensorsFile(folder_, file, found_, &tensors);
      if (absl::IsNotFound(read)) {
        return Corrupt(absl::StrCat("names ", file, ", which is not in the folder"));
      }
      RETURN_IF_ERROR(read);
      known = opened_.emplace(file, std::move(tensors)).first;
    }
    const auto tensor = known->second.find(name);
    if (tensor != known->second.end()) return tensor->second;
    return Corrupt(absl::StrCat("tensor '", Excerpt(name), "' is not in ", file));
  }

  const fs::path& folder_;
  WeightFiles found_;
  std::map<std::string, SafetensorsTensors> opened_;
};

absl::StatusOr<WeightFiles> Scan(const fs::path& folder) { return Scanner(folder).Scan(); }

}  // namespace

const CheckpointFormat& CutFormat() {
  static constexpr CheckpointFormat kFormat{
      "tessera", "what `tessera convert --tp` writes: safetensors by rank; served on any degrees",
      IsHere, Scan};
  return kFormat;
}

}  // namespace tessera::shard_loader
