#include "server/app/offload_flags.h"

#include <filesystem>
#include <optional>

#include "absl/strings/str_cat.h"
#include "shard_loader/io/unnamed_file.h"
#include "shard_loader/plan/byte_size.h"

namespace tessera::server {
namespace {

// Fills the folder, which is not empty.
std::string ResolveFolder(const std::string& folder, GroupOptions& group) {
  const std::filesystem::path path = folder;
  if (!group.workers.empty()) {
    group.kv_offload_dir = folder;
    return path.is_absolute() ? ""
                              : absl::StrCat("--kv-offload-path '", folder,
                                             "' is looked for on the hosts of --workers: give it "
                                             "from the root, like /var/tmp");
  }
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) {
    return absl::StrCat("--kv-offload-path '", folder, "' is not a folder; make it first");
  }
  group.kv_offload_dir = std::filesystem::absolute(path).string();
  const auto file = shard_loader::UnnamedFile::Create(group.kv_offload_dir);
  return file.ok() ? "" : absl::StrCat("--kv-offload-path: ", file.status().message());
}

}  // namespace

void AddOffloadFlags(CLI::App& app, const std::string& group, OffloadFlags& flags) {
  app.add_option("--kv-offload", flags.size,
                 "SIZE, like 4GiB: so much of the host's memory, for each rank, keeps the KV "
                 "blocks that are evicted from the cache; they are fetched where that is cheaper "
                 "than to compute them again")
      ->group(group);
  app.add_option("--kv-offload-path", flags.folder,
                 "Folder, of each rank's host, for a file of that size for each rank that keeps "
                 "them instead of memory; nothing of it outlives the rank")
      ->group(group);
}

std::string ResolveOffload(const OffloadFlags& flags, ServerOptions& options) {
  if (flags.size.empty()) {
    return flags.folder.empty()
               ? ""
               : "--kv-offload-path needs --kv-offload SIZE: how large the file may be";
  }
  const std::optional<int64_t> bytes = shard_loader::ParseBytes(flags.size);
  if (!bytes) {
    return absl::StrCat("--kv-offload '", flags.size,
                        "' is not a size above 0, like 512MiB or 4GiB");
  }
  if (!options.engine.prefix_cache) {
    return "--kv-offload and --no-prefix-cache exclude each other: what is never found again need "
           "not be kept";
  }
  if (options.group.device == "sim") {
    return "--kv-offload is not for --device sim: simulated ranks have no KV cache";
  }
  options.group.kv_offload_bytes = *bytes;
  return flags.folder.empty() ? "" : ResolveFolder(flags.folder, options.group);
}

}  // namespace tessera::server
