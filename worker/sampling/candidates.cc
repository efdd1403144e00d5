#include "worker/sampling/candidates.h"

#include <algorithm>
#include <vector>

#include "worker/backend/scalar_math.h"

namespace tessera::worker {
namespace {

constexpr int64_t kFirstChunk = 64;
constexpr int64_t kChunkGrowth = 8;

bool Higher(const Candidate& a, const Candidate& b) {
  return a.value != b.value ? a.value > b.value : a.id < b.id;
}

bool LowerId(const Candidate& a, const Candidate& b) { return a.id < b.id; }

double TotalWeight(absl::Span<const Candidate> candidates) {
  double total = 0;
  for (const Candidate& candidate : candidates) total += candidate.weight;
  return total;
}

// How many of the first by `before`, a strict order, reach the mass; at least one of them. They
// come to the front in that order; what lies behind is in none. The first are sorted chunk by
// chunk: most often a few of them are enough.
template <typename Item, typename Before, typename Weight>
int64_t FewestThatReach(double wanted, absl::Span<Item> items, const Before& before,
                        const Weight& weight_of) {
  const int64_t size = static_cast<int64_t>(items.size());
  double sum = 0;
  int64_t kept = 0;
  int64_t sorted = 0;
  for (int64_t chunk = kFirstChunk; kept < size; chunk *= kChunkGrowth) {
    auto rest = items.begin() + sorted;
    sorted = std::min(size, sorted + chunk);
    std::nth_element(rest, items.begin() + sorted - 1, items.end(), before);
    std::sort(rest, items.begin() + sorted, before);
    while (kept < sorted && (kept == 0 || sum < wanted)) sum += weight_of(items[kept++]);
    if (kept < sorted || sum >= wanted) break;
  }
  return kept;
}

}  // namespace

int64_t KeepTopK(absl::Span<Candidate> candidates, int64_t count) {
  const int64_t size = static_cast<int64_t>(candidates.size());
  if (count >= size) return size;
  std::nth_element(candidates.begin(), candidates.begin() + count, candidates.end(), Higher);
  std::sort(candidates.begin(), candidates.begin() + count, LowerId);
  return count;
}

int64_t KeepTopP(absl::Span<Candidate> candidates, float mass) {
  const int64_t kept = FewestThatReach(TotalWeight(candidates) * mass, candidates, Higher,
                                       [](const Candidate& candidate) { return candidate.weight; });
  std::sort(candidates.begin(), candidates.begin() + kept, LowerId);
  return kept;
}

int64_t KeepTypical(absl::Span<Candidate> candidates, float mass) {
  const double total = TotalWeight(candidates);
  struct Scored {
    double distance;
    Candidate candidate;
  };
  std::vector<Scored> scored;
  scored.reserve(candidates.size());
  double entropy = 0;
  for (const Candidate& candidate : candidates) {
    const double probability = candidate.weight / total;
    const double information = -ExactLog(probability);
    entropy += probability * information;
    scored.push_back({information, candidate});
  }
  for (Scored& each : scored) {
    const double difference = each.distance - entropy;
    each.distance = difference < 0 ? -difference : difference;
  }
  const int64_t kept = FewestThatReach(
      total * mass, absl::MakeSpan(scored),
      [](const Scored& a, const Scored& b) {
        return a.distance != b.distance ? a.distance < b.distance : a.candidate.id < b.candidate.id;
      },
      [](const Scored& each) { return each.candidate.weight; });
  for (int64_t i = 0; i < kept; ++i) candidates[i] = scored[i].candidate;
  std::sort(candidates.begin(), candidates.begin() + kept, LowerId);
  return kept;
}

uint32_t DrawAt(absl::Span<const Candidate> candidates, double uniform) {
  const double target = uniform * TotalWeight(candidates);
  double sum = 0;
  for (const Candidate& candidate : candidates) {
    sum += candidate.weight;
    if (sum > target) return candidate.id;
  }
  return candidates.back().id;
}

}  // namespace tessera::worker
