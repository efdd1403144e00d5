// How `tessera serve` finds the server and the bundled model.
#ifndef TESSERA_CLIENT_CLI_SERVE_H_
#define TESSERA_CLIENT_CLI_SERVE_H_

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace tessera::client {

// The bundled model as seen from the folder of the executables: of an installation
// (../share/tessera/models), else of a source tree above a build folder. NOT_FOUND where neither
// is.
absl::StatusOr<std::filesystem::path> FindBundledModel(const std::filesystem::path& bin_dir);

// The value of `--name VALUE` or `--name=VALUE` among `arguments`; the last one counts.
std::optional<std::string> FlagValue(const std::vector<std::string>& arguments,
                                     const std::string& name);

// True where a configuration file of the server has the key `model`; false for one that cannot be
// read, which is the server's to complain about.
bool ConfigNamesModel(const std::filesystem::path& config);

// True for names like "org/model": what a model hub calls a model, and no path that exists.
bool LooksLikeHubName(const std::string& model);

// How to get a model that was given by its name on a hub.
std::string DownloadHint(const std::string& model);

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_CLI_SERVE_H_
