#include "worker/runner/drafter.h"

#include <algorithm>

namespace tessera::worker {
namespace {

constexpr uint32_t kMissesBeforeRest = 4;
constexpr uint32_t kFirstRest = 8;  // steps; doubled with every miss after a rest
constexpr uint32_t kLongestRest = 64;

// Ids before `end` that are equal to the ids before the end of all, at most `most`.
uint32_t CommonEnd(absl::Span<const uint32_t> ids, size_t end, uint32_t most) {
  uint32_t length = 0;
  while (length < most && length < end && ids[end - 1 - length] == ids[ids.size() - 1 - length]) {
    ++length;
  }
  return length;
}

}  // namespace

absl::Status NgramDrafter::Propose(absl::Span<DraftRequest> requests) {
  for (DraftRequest& request : requests) {
    absl::Span<const uint32_t> ids = request.sequence->start.token_ids;
    if (ids.size() > kLookupWindow) ids = ids.subspan(ids.size() - kLookupWindow);
    uint32_t longest = least_ - 1;
    size_t found = 0;
    for (size_t end = ids.size() - 1; end > 0 && longest < most_; --end) {
      const uint32_t length = CommonEnd(ids, end, most_);
      if (length <= longest) continue;
      longest = length;
      found = end;
    }
    if (found == 0) continue;
    // Past its end the text goes on with the guess itself: what repeats, repeats.
    while (request.ids.size() < request.count) {
      const size_t next = found + request.ids.size();
      request.ids.push_back(next < ids.size() ? ids[next] : request.ids[next - ids.size()]);
    }
  }
  return absl::OkStatus();
}

uint32_t DraftLength::Next() {
  if (rest_ == 0) return length_;
  --rest_;
  return 0;
}

void DraftLength::Report(uint32_t proposed, uint32_t accepted) {
  if (proposed == 0) return;
  length_ = accepted == proposed ? most_ : std::min(most_, accepted + 1);
  misses_ = accepted > 0 ? 0 : misses_ + 1;
  if (misses_ < kMissesBeforeRest) return;
  const uint32_t doublings = std::min<uint32_t>(misses_ - kMissesBeforeRest, 8);
  rest_ = std::min(kLongestRest, kFirstRest << doublings);
}

}  // namespace tessera::worker
