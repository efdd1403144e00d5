#include "worker/sampling/sampler.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <vector>

#include "shard_loader/plan/workspace.h"
#include "worker/sampling/philox.h"

namespace tessera::worker {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

using Logits = std::vector<float>;

// A sampler with its own memory.
class Rig {
 public:
  explicit Rig(int64_t vocab, int64_t block = 4)
      : backend_(*MakeBackend("auto", 1)),
        scratch_(vocab * shard_loader::kSamplingBytesPerId),
        sampler_(backend_.get(), vocab, block, absl::MakeSpan(scratch_)) {}
  Sampler* operator->() { return &sampler_; }

 private:
  std::unique_ptr<Backend> backend_;
  std::vector<std::byte> scratch_;
  Sampler sampler_;
};

DrawContext Greedy(const std::vector<uint32_t>& ids, int64_t prompt_length) {
  DrawContext context;
  context.ids = ids;
  context.prompt_length = prompt_length;
  context.params.temperature = 0;
  return context;
}

TEST_CASE("the log of the sum of exponentials is that of the definition, at any scale") {
  Rig rig(10);
  for (float offset : {0.0f, -500.0f, 80000.0f}) {
    const Logits logits = {1, 2, 3, 4, 5, -1, -2, 0, 2, 3};
    Logits shifted = logits;
    double expected = 0;
    for (float& x : shifted) x += offset;
    for (float x : logits) expected += std::exp(double{x});
    CHECK(*rig->LogSumExp(shifted.data()) ==
          Approx(offset + std::log(expected)).epsilon(0).margin(1e-6));
  }
}

TEST_CASE("blocks of -infinity add nothing, and logits that are no numbers are refused") {
  Rig rig(8);
  const Logits half = {-kInfinity, -kInfinity, -kInfinity, -kInfinity, 0, 0, 0, 0};
  CHECK(*rig->LogSumExp(half.data()) == Approx(std::log(4.0)));
  for (const Logits& bad :
       {Logits{0, 0, 0, 0, 0, kNan, 0, 0}, Logits(8, kNan), Logits{0, kInfinity, 0, 0, 0, 0, 0, 0},
        Logits(8, -kInfinity), Logits{kNan, kNan, kNan, kNan, 0, 0, 0, 0}}) {
    CHECK(absl::IsDataLoss(rig->LogSumExp(bad.data()).status()));
  }
}

TEST_CASE("logprobs are ranked, ties by the lower id, up to the whole vocabulary") {
  Rig rig(6);
  const Logits logits = {0, 2, 1, 2, -1, 0};
  const double sum = *rig->LogSumExp(logits.data());
  const Logprobs three = rig->LogprobsOf(logits.data(), sum, 4, 3);
  CHECK(three.chosen == Approx(-1 - sum));
  REQUIRE(three.top.size() == 3);
  CHECK(three.top[0].id == 1);
  CHECK(three.top[1].id == 3);
  CHECK(three.top[2].id == 2);
  CHECK(three.top[2].logprob == Approx(1 - sum));
  CHECK(rig->LogprobsOf(logits.data(), sum, 4, 0).top.empty());
  const Logprobs all = rig->LogprobsOf(logits.data(), sum, 4, 99);
  std::vector<uint32_t> ids;
  for (const RankedId& each : all.top) ids.push_back(each.id);
  CHECK(ids == std::vector<uint32_t>{1, 3, 2, 0, 5, 4});
}

TEST_CASE("greedy takes the highest logit, the lower id of equals") {
  Rig rig(6);
  const Logits logits = {0, 2, 1, 2, -1, 0};
  CHECK(*rig->Draw(logits.data(), Greedy({0}, 1)) == 1);
}

TEST_CASE("masked ids are not drawn, and where all are masked the request fails") {
  Rig rig(3);
  const Logits logits = {0, 5, 3};
  const std::vector<uint32_t> one = {1, 77};  // an id beyond the vocabulary masks nothing
  const std::vector<uint32_t> all = {0, 1, 2};
  DrawContext context = Greedy({0}, 1);
  context.masked_ids = one;
  CHECK(*rig->Draw(logits.data(), context) == 2);
  context.masked_ids = all;
  CHECK(absl::IsFailedPrecondition(rig->Draw(logits.data(), context).status()));
}

TEST_CASE("a request's restrictions come before penalties, and bias before temperature") {
  Rig rig(4);
  const std::vector<uint32_t> ids = {3, 1};
  DrawContext context = Greedy(ids, 1);
  Restrictions restrictions;
  context.restrictions = &restrictions;
  restrictions.allowed_ids = {0, 2};
  CHECK(*rig->Draw(Logits{1, 9, 2, 8}.data(), context) == 2);
  restrictions.bad_words = {{1, 2}};  // 1 is the output's end
  CHECK(*rig->Draw(Logits{1, 9, 2, 8}.data(), context) == 0);
  restrictions.bad_words = {{3, 2}};  // 3 stands in the prompt
  CHECK(*rig->Draw(Logits{1, 9, 2, 8}.data(), context) == 2);
  restrictions = {.logit_bias = {{1, 3}}};
  context.params.repetition_penalty = 2.0f;  // of 1 and 3; (1 + 3) / 2 against 1 / 2 + 3
  CHECK(*rig->Draw(Logits{-9, 1, 2.5f, -9}.data(), context) == 2);
  restrictions.allowed_ids = {3};
  restrictions.bad_words = {{3}};
  CHECK(absl::IsFailedPrecondition(rig->Draw(Logits{1, 9, 2, 8}.data(), context).status()));
}

TEST_CASE("candidates are ranked by what a request makes of the logits, with their raw logprobs") {
  Rig rig(6);
  const Logits logits = {1, 5, 2, 5, 4, 3};
  const double sum = *rig->LogSumExp(logits.data());
  const auto raw = [&](size_t id) { return static_cast<float>(double{logits[id]} - sum); };
  const std::vector<uint32_t> ids = {5, 4};
  Restrictions restrictions;
  DrawContext context = Greedy(ids, 1);
  auto ranked = *rig->Candidates(logits.data(), sum, context, 3);
  REQUIRE(ranked.size() == 3);
  CHECK(ranked[0].id == 1);
  CHECK(ranked[1].id == 3);
  CHECK(ranked[2].id == 4);
  CHECK(ranked[2].logprob == raw(4));

  context.restrictions = &restrictions;
  restrictions.allowed_ids = {0, 1, 2, 3, 4};
  restrictions.bad_words = {{4, 1}, {2, 0}};  // only the first ends behind 4
  restrictions.logit_bias = {{0, 4}, {1, 50}, {5, 50}};
  context.masked_ids = absl::MakeConstSpan(ids).subspan(1);
  ranked = *rig->Candidates(logits.data(), sum, context, 10);
  REQUIRE(ranked.size() == 3);
  CHECK(ranked[0].id == 0);  // 1 + 4, and the lower id of equals
  CHECK(ranked[0].logprob == raw(0));
  CHECK(ranked[1].id == 3);
  CHECK(ranked[2].id == 2);
  restrictions.allowed_ids = {1};
  CHECK(absl::IsFailedPrecondition(rig->Candidates(logits.data(), sum, context, 2).status()));
}

TEST_CASE("the repetition penalty divides positive and multiplies negative logits, once each") {
  Rig rig(4);
  const std::vector<uint32_t> ids = {1, 1, 2};
  DrawContext context = Greedy(ids, 2);
  context.params.repetition_penalty = 2.0f;
  CHECK(*rig->Draw(Logits{-9, 3, 2.9f, 1.4f}.data(), context) == 1);  // 1.5, 1.45 and 1.4
  CHECK(*rig->Draw(Logits{-9, 3, 3.2f, 1.4f}.data(), context) == 2);
  CHECK(*rig->Draw(Logits{-2.5f, -1, -1.5f, -3}.data(), context) == 1);  // -2, against -2.5
  CHECK(*rig->Draw(Logits{-1.9f, -1, -1.5f, -3}.data(), context) == 0);
}

TEST_CASE("presence and frequency penalties count generated tokens and not the prompt") {
  Rig rig(4);
  const std::vector<uint32_t> ids = {0, 0, 0, 1, 1, 2};
  DrawContext context = Greedy(ids, 3);
  context.params.frequency_penalty = 1.0f;
  CHECK(*rig->Draw(Logits{1, 3.5f, 2.1f, 0}.data(), context) == 1);  // 1, 1.5, 1.1, 0
  CHECK(*rig->Draw(Logits{1, 2.9f, 2.1f, 0}.data(), context) == 2);  // 1, 0.9, 1.1, 0
  CHECK(*rig->Draw(Logits{1.2f, 2.9f, 2.1f, 0}.data(), context) == 0);
  context.params.frequency_penalty = 0;
  context.params.presence_penalty = 1.0f;
  CHECK(*rig->Draw(Logits{1, 2.1f, 2.0f, 0}.data(), context) == 1);
  CHECK(*rig->Draw(Logits{1.5f, 2.1f, 2.0f, 0}.data(), context) == 0);
  // The counts of one draw do not reach into the next.
  CHECK(*rig->Draw(Logits{1, 2.1f, 2.0f, 0}.data(), context) == 1);
}

// How often each id is drawn in `draws` positions.
std::map<uint32_t, int> Histogram(Rig& rig, const Logits& logits, const SamplingParams& params,
                                  int draws) {
  std::map<uint32_t, int> counts;
  std::vector<uint32_t> ids;
  for (int i = 0; i < draws; ++i) {
    ids.push_back(0);
    DrawContext context;
    context.ids = ids;
    context.prompt_length = static_cast<int64_t>(ids.size());
    context.params = params;
    ++counts[*rig->Draw(logits.data(), context)];
  }
  return counts;
}

TEST_CASE("sampling follows the probabilities, with and without filters") {
  Rig rig(6);
  const Logits logits = {std::log(0.1f), std::log(0.3f), -kInfinity,
                         std::log(0.2f), std::log(0.4f), -90};
  const int draws = 4000;
  for (bool filtered : {false, true}) {
    SamplingParams params;
    params.seed = 5;
    if (filtered) params.top_p = 0.9999999f;
    auto counts = Histogram(rig, logits, params, draws);
    CHECK(counts.count(2) == 0);
    CHECK(counts[0] == Approx(0.1 * draws).margin(80));
    CHECK(counts[1] == Approx(0.3 * draws).margin(120));
    CHECK(counts[3] == Approx(0.2 * draws).margin(110));
    CHECK(counts[4] == Approx(0.4 * draws).margin(130));
  }
}

TEST_CASE("temperature sharpens, and a tiny one is greedy") {
  Rig rig(2);
  const Logits logits = {0, std::log(2.0f)};
  SamplingParams params;
  params.temperature = 0.5f;  // odds of 4 instead of 2
  CHECK(Histogram(rig, logits, params, 4000)[1] == Approx(3200).margin(110));
  params.temperature = 1e-30f;
  CHECK(Histogram(rig, logits, params, 50)[1] == 50);
}

TEST_CASE("min-p, top-k and top-p leave out what they are to leave out") {
  Rig rig(5);
  const Logits logits = {std::log(0.05f), std::log(0.4f), std::log(0.15f), std::log(0.3f),
                         std::log(0.1f)};
  auto drawn = [&](const SamplingParams& params) {
    std::vector<uint32_t> ids;
    for (const auto& [id, count] : Histogram(rig, logits, params, 600)) ids.push_back(id);
    return ids;
  };
  SamplingParams min_p;
  min_p.min_p = 0.3f;  // of 0.4: from 0.12
  CHECK(drawn(min_p) == std::vector<uint32_t>{1, 2, 3});
  SamplingParams top_k;
  top_k.top_k = 2;
  CHECK(drawn(top_k) == std::vector<uint32_t>{1, 3});
  SamplingParams top_p;
  top_p.top_p = 0.8f;
  CHECK(drawn(top_p) == std::vector<uint32_t>{1, 2, 3});
  // top-p is of what top-k has left: 4/7 and 3/7.
  SamplingParams both;
  both.top_k = 2;
  both.top_p = 0.5f;
  CHECK(drawn(both) == std::vector<uint32_t>{1});
  SamplingParams off;
  off.top_k = -1;
  CHECK(drawn(off).size() == 5);
}

TEST_CASE("the walk over blocks gives what the walk over single ids gives") {
  const int64_t vocab = 300;
  Rig blocks(vocab, 16);
  Logits logits(vocab);
  for (int64_t i = 0; i < vocab; ++i) logits[i] = 3.0f * std::sin(static_cast<float>(i * i));
  std::vector<uint32_t> ids;
  for (int draw = 0; draw < 200; ++draw) {
    ids.push_back(1);
    DrawContext context;
    context.ids = ids;
    context.prompt_length = static_cast<int64_t>(ids.size());
    const double uniform = PhiloxUniform(0, 0, ids.size());
    double total = 0;
    for (float x : logits) total += std::exp(double{x});
    double sum = 0;
    uint32_t expected = 0;
    while ((sum += std::exp(double{logits[expected]})) <= uniform * total) ++expected;
    CHECK(*blocks->Draw(logits.data(), context) == expected);
  }
}

}  // namespace
}  // namespace tessera::worker
