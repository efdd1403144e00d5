#include "worker/model/router.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "worker/backend/scalar_math.h"

namespace tessera::worker {
namespace {

using shard_loader::MoeSpec;

constexpr double kLowest = -std::numeric_limits<double>::infinity();

double ExactSigmoid(double x) { return 1 / (1 + ExactExp(-x)); }

std::vector<double> Scores(const MoeSpec& moe, const float* logits) {
  std::vector<double> scores(logits, logits + moe.num_experts);
  if (moe.scores == MoeSpec::Scores::kSigmoid) {
    for (double& score : scores) score = ExactSigmoid(score);
    return scores;
  }
  const double maximum = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (double& score : scores) sum += score = ExactExp(score - maximum);
  for (double& score : scores) score /= sum;
  return scores;
}

// The ids of the `count` largest, ties to the lower id; each is set to the lowest number then.
std::vector<int64_t> TakeLargest(int64_t count, std::vector<double>* values) {
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < count; ++i) {
    int64_t best = -1;
    for (int64_t id = 0; id < static_cast<int64_t>(values->size()); ++id) {
      if (std::find(ids.begin(), ids.end(), id) != ids.end()) continue;
      if (best < 0 || (*values)[id] > (*values)[best]) best = id;
    }
    ids.push_back(best);
  }
  for (int64_t id : ids) (*values)[id] = kLowest;
  return ids;
}

// Scores of experts outside of the best groups become the lowest number.
void KeepBestGroups(const MoeSpec& moe, std::vector<double>* scores) {
  const int64_t size = moe.num_experts / moe.num_groups;
  std::vector<double> groups;
  for (int64_t group = 0; group < moe.num_groups; ++group) {
    std::vector<double> members(scores->begin() + group * size,
                                scores->begin() + (group + 1) * size);
    std::sort(members.rbegin(), members.rend());
    groups.push_back(moe.group_by_two && size > 1 ? members[0] + members[1] : members[0]);
  }
  const std::vector<int64_t> kept = TakeLargest(moe.groups_per_token, &groups);
  for (int64_t group = 0; group < moe.num_groups; ++group) {
    if (std::find(kept.begin(), kept.end(), group) != kept.end()) continue;
    std::fill_n(scores->begin() + group * size, size, kLowest);
  }
}

}  // namespace

float Sigmoid(float x) { return static_cast<float>(ExactSigmoid(x)); }

std::vector<ExpertChoice> ChooseExperts(const MoeSpec& moe, const float* logits,
                                        const float* correction) {
  std::vector<ExpertChoice> choices;
  const bool is_number =
      std::none_of(logits, logits + moe.num_experts, [](float x) { return std::isnan(x); });
  if (!is_number) {
    for (int32_t i = 0; i < moe.experts_per_token; ++i) {
      choices.push_back({i, std::numeric_limits<float>::quiet_NaN()});
    }
    return choices;
  }
  const std::vector<double> scores = Scores(moe, logits);
  std::vector<double> ranked = scores;
  for (int64_t i = 0; correction != nullptr && i < moe.num_experts; ++i) ranked[i] += correction[i];
  if (moe.num_groups > 1) KeepBestGroups(moe, &ranked);
  std::vector<int64_t> ids = TakeLargest(moe.experts_per_token, &ranked);
  std::sort(ids.begin(), ids.end());
  double sum = 0;
  for (int64_t id : ids) sum += scores[id];
  const double scale = double{moe.routed_scale} / (moe.renormalise ? sum : 1.0);
  for (int64_t id : ids) {
    choices.push_back({static_cast<int32_t>(id), static_cast<float>(scores[id] * scale)});
  }
  return choices;
}

}  // namespace tessera::worker
