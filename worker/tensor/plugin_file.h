// Where plugins lie.
#ifndef TESSERA_WORKER_TENSOR_PLUGIN_FILE_H_
#define TESSERA_WORKER_TENSOR_PLUGIN_FILE_H_

#include <string>

#include "absl/status/statusor.h"

namespace tessera::worker {

// The path of `file` in `folder`, or, where that is empty, beside this program, in ../lib/tessera
// or in ../bin from there. FAILED_PRECONDITION, saying where it was looked for.
absl::StatusOr<std::string> FindPluginFile(const std::string& file, const std::string& folder);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_TENSOR_PLUGIN_FILE_H_
