#include "server/engine/suspects.h"

#include <algorithm>

namespace tessera::server {

std::optional<uint64_t> Suspects::Died(const std::vector<uint64_t>& in_steps) {
  std::optional<uint64_t> guilty;
  for (uint64_t request : in_steps) {
    const uint32_t deaths = ++deaths_[request];
    if (deaths < kGuilty) continue;
    // Alone: in the steps, or at least on trial.
    if (in_steps.size() == 1 || (on_trial_.size() == 1 && on_trial_.count(request) > 0)) {
      guilty = request;
    }
  }
  if (guilty) deaths_.erase(*guilty);
  ChooseTrial();
  return guilty;
}

bool Suspects::Clear(uint64_t request) {
  deaths_.erase(request);
  if (on_trial_.erase(request) == 0 || !on_trial_.empty()) return false;
  ChooseTrial();
  return true;
}

void Suspects::ChooseTrial() {
  on_trial_.clear();
  uint32_t most = 0;
  for (const auto& [request, deaths] : deaths_) most = std::max(most, deaths);
  if (most < kSuspect) return;
  std::vector<uint64_t> worst;
  for (const auto& [request, deaths] : deaths_) {
    if (deaths == most) worst.push_back(request);
  }
  on_trial_.insert(worst.begin(), worst.begin() + static_cast<int64_t>((worst.size() + 1) / 2));
}

}  // namespace tessera::server
