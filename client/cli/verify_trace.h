// The hashes of the residual stream that two servers have written, compared.
#ifndef TESSERA_CLIENT_CLI_VERIFY_TRACE_H_
#define TESSERA_CLIENT_CLI_VERIFY_TRACE_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"

namespace tessera::client {

// Of one sequence: hash by (position, layer), and which rank has written it; layer -1 is the
// embedding. Where several ranks have a layer, the lowest one with a hash of its own comes first.
struct ResidualTrace {
  struct Entry {
    uint64_t hash = 0;
    int rank = 0;
  };
  std::multimap<std::pair<int64_t, int64_t>, Entry> entries;
};

// Reads the files "rank-N" of a folder (worker/model/residual_trace.h): the lines of the first
// sequence that a request had. INVALID_ARGUMENT for lines that are none.
absl::StatusOr<ResidualTrace> ReadTrace(const std::filesystem::path& folder);

struct TraceDifference {
  int64_t position = 0;  // of the first row that differs
  int64_t layer = 0;     // the first one that differs there
  int rank = 0;
};
std::optional<TraceDifference> FirstDifference(const ResidualTrace& expected,
                                               const ResidualTrace& found);

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_CLI_VERIFY_TRACE_H_
