#include "client/cli/verify_trace.h"

#include <cstdlib>
#include <fstream>
#include <limits>
#include <sstream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace tessera::client {
namespace {

// What a group computes before it is ready (server/executor): not a request's.
constexpr uint64_t kWarmUpSequence = std::numeric_limits<uint64_t>::max();

absl::Status ReadRank(const std::filesystem::path& file, int rank, ResidualTrace& trace) {
  std::ifstream in(file);
  std::optional<uint64_t> first;
  for (std::string line; std::getline(in, line);) {
    std::istringstream fields(line);
    uint64_t sequence = 0;
    int64_t position = 0;
    int64_t layer = 0;
    std::string hash;
    if (!(fields >> sequence >> position >> layer >> hash)) {
      return absl::InvalidArgumentError(
          absl::StrCat(file.string(), ": not a line of a trace: ", line));
    }
    if (sequence == kWarmUpSequence) continue;
    if (!first) first = sequence;
    if (sequence != *first) continue;
    trace.entries.insert({{position, layer}, {std::strtoull(hash.c_str(), nullptr, 16), rank}});
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ResidualTrace> ReadTrace(const std::filesystem::path& folder) {
  ResidualTrace trace;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    int rank = 0;
    if (!name.starts_with("rank-") || !absl::SimpleAtoi(name.substr(5), &rank)) continue;
    absl::Status read = ReadRank(entry->path(), rank, trace);
    if (!read.ok()) return read;
  }
  return trace;
}

std::optional<TraceDifference> FirstDifference(const ResidualTrace& expected,
                                               const ResidualTrace& found) {
  for (const auto& [where, entry] : found.entries) {
    auto due = expected.entries.find(where);
    if (due == expected.entries.end() || due->second.hash == entry.hash) continue;
    return TraceDifference{where.first, where.second, entry.rank};
  }
  return std::nullopt;
}

}  // namespace tessera::client
