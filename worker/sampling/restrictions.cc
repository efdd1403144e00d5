#include "worker/sampling/restrictions.h"

#include <algorithm>
#include <limits>

namespace tessera::worker {
namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

// Sets all but `allowed` to -infinity, in place: the gaps between the ids, ascending.
void KeepOnly(std::vector<uint32_t> allowed, absl::Span<float> values) {
  std::sort(allowed.begin(), allowed.end());
  size_t next = 0;
  for (uint32_t id : allowed) {
    if (id < next) continue;  // named twice
    std::fill(values.begin() + next, values.begin() + id, kForbidden);
    next = size_t{id} + 1;
  }
  std::fill(values.begin() + next, values.end(), kForbidden);
}

bool EndsWith(absl::Span<const uint32_t> ids, absl::Span<const uint32_t> end) {
  return ids.size() >= end.size() &&
         std::equal(end.begin(), end.end(), ids.end() - static_cast<ptrdiff_t>(end.size()));
}

}  // namespace

std::vector<uint32_t> ForbiddenIds(const Restrictions& restrictions,
                                   absl::Span<const uint32_t> generated) {
  std::vector<uint32_t> ids;
  for (const std::vector<uint32_t>& word : restrictions.bad_words) {
    const absl::Span<const uint32_t> head(word.data(), word.size() - 1);
    if (EndsWith(generated, head)) ids.push_back(word.back());
  }
  return ids;
}

void Forbid(const Restrictions& restrictions, absl::Span<const uint32_t> generated,
            absl::Span<float> values) {
  if (!restrictions.allowed_ids.empty()) KeepOnly(restrictions.allowed_ids, values);
  for (uint32_t id : ForbiddenIds(restrictions, generated)) values[id] = kForbidden;
}

void AddBias(const Restrictions& restrictions, absl::Span<float> values) {
  for (const TokenBias& each : restrictions.logit_bias) values[each.id] += each.bias;
}

}  // namespace tessera::worker
