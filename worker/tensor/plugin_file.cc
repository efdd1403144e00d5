#include "worker/tensor/plugin_file.h"

#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace tessera::worker {

absl::StatusOr<std::string> FindPluginFile(const std::string& file, const std::string& folder) {
  std::error_code error;
  std::vector<std::filesystem::path> folders = {folder};
  if (folder.empty()) {
    const auto bin = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
    folders = {bin, bin.parent_path() / "lib/tessera", bin.parent_path() / "bin"};
  }
  std::vector<std::string> names;
  for (const auto& each : folders) {
    if (std::filesystem::is_regular_file(each / file, error)) return (each / file).string();
    names.push_back(each.string());
  }
  return absl::FailedPreconditionError(
      absl::StrCat(file, " was not found in ", absl::StrJoin(names, ", ")));
}

}  // namespace tessera::worker
