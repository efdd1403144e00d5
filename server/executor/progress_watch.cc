#include "server/executor/progress_watch.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proto/rpc/error_site.h"

namespace tessera::server {
namespace {

absl::Status OfRank(size_t rank, const std::string& message) {
  absl::Status status = absl::UnavailableError(message);
  rpc::SetErrorSite(status, {.rank = static_cast<uint32_t>(rank)});
  return status;
}

}  // namespace

ProgressWatch::ProgressWatch(int num_ranks, Limits limits, absl::Time now)
    : limits_(limits),
      ranks_(num_ranks, RankState{.last_heard = now}),
      last_moved_(now),
      last_check_(now) {}

void ProgressWatch::Progress(int rank, uint64_t progress, absl::Time now) {
  if (progress == ranks_[rank].progress) return;
  ranks_[rank].progress = progress;
  last_moved_ = now;
}

absl::Status ProgressWatch::Check(absl::Time now, bool idle) {
  bool late = now - last_check_ > std::min(limits_.silence, limits_.stall) / 2;
  last_check_ = now;
  if (idle || late) last_moved_ = now;
  if (late) {
    for (RankState& rank : ranks_) rank.last_heard = now;
    return absl::OkStatus();
  }
  for (size_t rank = 0; rank < ranks_.size(); ++rank) {
    if (now - ranks_[rank].last_heard <= limits_.silence) continue;
    return OfRank(rank, absl::StrCat("rank ", rank, " has sent nothing for ",
                                     absl::FormatDuration(limits_.silence),
                                     "; it, its host or the network hangs"));
  }
  if (now - last_moved_ <= limits_.stall) return absl::OkStatus();
  auto least = std::min_element(ranks_.begin(), ranks_.end(), [](const auto& a, const auto& b) {
    return a.progress < b.progress;
  });
  const size_t rank = least - ranks_.begin();
  return OfRank(rank, absl::StrCat("the group has done nothing for ",
                                   absl::FormatDuration(limits_.stall), "; rank ", rank,
                                   " has done the least. If the machine is merely slow, raise "
                                   "--step-timeout"));
}

}  // namespace tessera::server
