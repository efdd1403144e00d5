#include "shard_loader/format/weight_index.h"

#include <set>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

constexpr size_t kMostNameBytes = 255;
constexpr size_t kMostFiles = 4096;

bool IsPlainWeightFile(std::string_view name, std::string_view suffix) {
  return name.size() > suffix.size() && name.size() <= kMostNameBytes && name[0] != '.' &&
         name.ends_with(suffix) &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

}  // namespace

absl::StatusOr<WeightIndex> ParseWeightIndex(std::string_view index_json, const std::string& file,
                                             std::string_view suffix) {
  ASSIGN_OR_RETURN(
      const nlohmann::json document,
      ParseJsonObject(index_json, file, {.max_bytes = 64 << 20, .refuse_duplicates = true}));
  const auto weight_map = document.find("weight_map");
  if (weight_map == document.end() || !weight_map->is_object() || weight_map->empty()) {
    return absl::DataLossError(
        absl::StrCat("shard_loader: ", file, ": weight_map is missing, empty or no object"));
  }
  WeightIndex index;
  std::set<std::string> files;
  for (const auto& [tensor, value] : weight_map->items()) {
    if (!value.is_string()) {
      return absl::DataLossError(absl::StrCat("shard_loader: ", file, ": tensor '", Excerpt(tensor),
                                              "' is in ", value.type_name(),
                                              ", expected the name of a file"));
    }
    const auto& name = value.get_ref<const std::string&>();
    if (!IsPlainWeightFile(name, suffix)) {
      return absl::FailedPreconditionError(
          absl::StrCat("shard_loader: ", file, ": tensor '", Excerpt(tensor),
                       "' is said to be in '", Excerpt(name), "', which is no plain name of a ",
                       std::string(suffix), " file beside the index"));
    }
    index.file_of.emplace(tensor, name);
    files.insert(name);
  }
  if (files.size() > kMostFiles) {
    return absl::DataLossError(absl::StrCat("shard_loader: ", file, ": names ", files.size(),
                                            " files, at most ", kMostFiles));
  }
  index.files.assign(files.begin(), files.end());
  return index;
}

}  // namespace tessera::shard_loader
