#include "worker/model/router.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "worker/model/slopes.h"

namespace tessera::worker {
namespace {

using shard_loader::MoeSpec;

MoeSpec Four() {
  MoeSpec moe;
  moe.num_experts = 4;
  moe.experts_per_token = 2;
  return moe;
}

TEST_CASE("the largest scores are chosen, ascending by expert, ties to the lower id") {
  const float logits[] = {1, 3, 3, 3};
  const auto choices = ChooseExperts(Four(), logits, nullptr);
  REQUIRE(choices.size() == 2);
  CHECK(choices[0].expert == 1);
  CHECK(choices[1].expert == 2);
  const double sum = 3 + std::exp(-2.0);
  CHECK(choices[0].weight == Approx(1 / sum));
  MoeSpec moe = Four();
  moe.renormalise = true;
  moe.routed_scale = 3;
  CHECK(ChooseExperts(moe, logits, nullptr)[1].weight == Approx(1.5));
}

TEST_CASE("a correction changes the choice and not the weights") {
  MoeSpec moe = Four();
  moe.scores = MoeSpec::Scores::kSigmoid;
  const float logits[] = {0, 2, 1, -1};
  const float correction[] = {0.5f, 0, 0, 0.9f};
  const auto choices = ChooseExperts(moe, logits, correction);
  CHECK(choices[0].expert == 0);
  CHECK(choices[0].weight == Approx(0.5));
  CHECK(choices[1].expert == 3);
  CHECK(choices[1].weight == Approx(1 / (1 + std::exp(1.0))));
}

TEST_CASE("experts outside of the best groups are not chosen") {
  MoeSpec moe = Four();
  moe.num_groups = 2;
  moe.groups_per_token = 1;
  const float logits[] = {5, 0, 4, 3};
  CHECK(ChooseExperts(moe, logits, nullptr)[1].expert == 1);  // its group has the best expert
  moe.scores = MoeSpec::Scores::kSigmoid;
  moe.group_by_two = true;
  CHECK(ChooseExperts(moe, logits, nullptr)[0].expert == 2);  // the best two together
}

TEST_CASE("a logit that is no number makes every weight of its row no number") {
  const float logits[] = {1, std::numeric_limits<float>::quiet_NaN(), 0, 0};
  const auto choices = ChooseExperts(Four(), logits, nullptr);
  REQUIRE(choices.size() == 2);
  CHECK(std::isnan(choices[0].weight));
  CHECK(std::isnan(choices[1].weight));
}

TEST_CASE("slopes of ALiBi are powers of two, with odd powers of the root for other head counts") {
  shard_loader::AttentionSpec attention;
  attention.num_heads = 8;
  CHECK(AlibiSlopes(attention)[0] == Approx(0.5));
  CHECK(AlibiSlopes(attention)[7] == Approx(1.0 / 256));
  attention.num_heads = 6;
  const std::vector<float> slopes = AlibiSlopes(attention);
  CHECK(slopes[3] == Approx(1.0 / 256));
  CHECK(slopes[4] == Approx(0.5));
  CHECK(slopes[5] == Approx(0.125));
  attention.alibi_scale = 0.5f;
  CHECK(AlibiSlopes(attention)[4] == Approx(0.25));
}

}  // namespace
}  // namespace tessera::worker
