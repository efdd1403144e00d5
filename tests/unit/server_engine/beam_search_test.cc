#include "server/engine/beam_search.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <random>

namespace tessera::server {
namespace {

using Ids = std::vector<uint32_t>;
using Options = BeamSearch::Options;
// Logprobs of every id after some ids; of those that may not follow, -infinity.
using Model = std::function<std::vector<float>(const Ids&)>;

Ids IdsOf(const BeamSearch::Hypothesis& hypothesis) {
  Ids ids;
  for (const Token& token : hypothesis.tokens) ids.push_back(token.id);
  return ids;
}

double BiasOf(const Options& options, uint32_t id) {
  for (const TokenBias& each : options.logit_bias) {
    if (each.id == id) return double{each.bias};
  }
  return 0;
}

// The likeliest with their biases, ties by the lower id: what a worker answers.
std::vector<TopToken> Top(const Options& options, const std::vector<float>& logprobs) {
  std::vector<TopToken> all;
  for (uint32_t id = 0; id < logprobs.size(); ++id) {
    if (std::isfinite(logprobs[id])) all.push_back({id, logprobs[id]});
  }
  std::stable_sort(all.begin(), all.end(), [&](const TopToken& a, const TopToken& b) {
    return double{a.logprob} + BiasOf(options, a.id) > double{b.logprob} + BiasOf(options, b.id);
  });
  const size_t count =
      options.width + std::max<size_t>(options.width, options.stop_token_ids.size());
  all.resize(std::min(count, all.size()));
  return all;
}

std::vector<BeamSearch::Hypothesis> Search(const Options& options, const Model& model) {
  BeamSearch search(options);
  while (!search.done()) {
    std::vector<Token> next;
    for (const auto& beam : search.beams()) {
      Token& token = next.emplace_back();
      token.candidates = Top(options, model(IdsOf(beam)));
      CHECK(token.candidates.size() <= search.num_candidates());
      token.top.assign(token.candidates.begin(),
                       token.candidates.begin() + std::min<size_t>(1, token.candidates.size()));
    }
    search.Advance(next);
  }
  return search.Best(options.width);
}

// The definition without its early end: every beam to max_tokens, all complete ones sorted last.
std::vector<Ids> Naive(const Options& options, const Model& model) {
  struct Path {
    Ids ids;
    double sum = 0;
    double Score(double penalty) const { return sum / std::pow(double(ids.size()), penalty); }
  };
  std::vector<Path> beams(1), complete;
  for (uint32_t length = 1; length <= options.max_tokens && !beams.empty(); ++length) {
    std::vector<Path> grown;
    for (const Path& beam : beams) {
      for (const TopToken& token : Top(options, model(beam.ids))) {
        Path path = beam;
        path.ids.push_back(token.id);
        path.sum += double{token.logprob} + BiasOf(options, token.id);
        const bool stop =
            std::count(options.stop_token_ids.begin(), options.stop_token_ids.end(), token.id) > 0;
        if (stop && length <= options.min_tokens) continue;
        (stop ? complete : grown).push_back(path);
      }
    }
    std::stable_sort(grown.begin(), grown.end(),
                     [](const Path& a, const Path& b) { return a.sum > b.sum; });
    grown.resize(std::min<size_t>(grown.size(), options.width));
    beams = grown;
  }
  complete.insert(complete.end(), beams.begin(), beams.end());
  const double penalty = options.length_penalty;
  std::stable_sort(complete.begin(), complete.end(), [penalty](const Path& a, const Path& b) {
    return a.Score(penalty) > b.Score(penalty);
  });
  std::vector<Ids> best;
  for (size_t i = 0; i < complete.size() && i < options.width; ++i) best.push_back(complete[i].ids);
  return best;
}

TEST_CASE("a wider search finds what a greedy one misses") {
  // 0 is likelier first, but 1 leads to a certain 2.
  const Model model = [](const Ids& ids) -> std::vector<float> {
    if (ids.empty()) return {std::log(0.6f), std::log(0.4f), -20};
    if (ids[0] == 0) return {std::log(0.4f), std::log(0.3f), std::log(0.3f)};
    return {-20, -20, -0.0001f};
  };
  CHECK(IdsOf(Search({.width = 1, .max_tokens = 2}, model)[0]) == Ids{0, 0});
  const auto two = Search({.width = 2, .max_tokens = 2}, model);
  CHECK(IdsOf(two[0]) == Ids{1, 2});
  CHECK(IdsOf(two[1]) == Ids{0, 0});
  CHECK(two[0].sum == Approx(std::log(0.4) - 0.0001));
  CHECK(two[0].score == Approx(two[0].sum / 2));
}

TEST_CASE("a stop id completes a hypothesis, but not before min_tokens") {
  const Model model = [](const Ids&) -> std::vector<float> {
    return {std::log(0.2f), std::log(0.3f), std::log(0.5f)};
  };
  Options options{.width = 1, .length_penalty = 0, .max_tokens = 3, .stop_token_ids = {2}};
  auto best = Search(options, model);
  CHECK(IdsOf(best[0]) == Ids{2});
  CHECK(best[0].stop_token_id == 2u);
  options.min_tokens = 2;
  CHECK(IdsOf(Search(options, model)[0]) == Ids{1, 1, 2});
  options.max_tokens = 2;
  best = Search(options, model);
  CHECK(IdsOf(best[0]) == Ids{1, 1});
  CHECK_FALSE(best[0].stop_token_id.has_value());
}

TEST_CASE("the length penalty weighs long answers against short ones") {
  const Model model = [](const Ids& ids) -> std::vector<float> {
    if (ids.empty()) return {std::log(0.6f), std::log(0.4f)};
    return {std::log(0.9f), std::log(0.1f)};
  };
  // Id 1 ends it: -0.92 alone, or -0.51 - 0.11 - 0.11 for three tokens.
  Options options{.width = 2, .length_penalty = 1, .max_tokens = 3, .stop_token_ids = {1}};
  CHECK(IdsOf(Search(options, model)[0]) == Ids{0, 0, 0});
  options.length_penalty = -1;
  CHECK(IdsOf(Search(options, model)[0]) == Ids{1});
}

TEST_CASE("equal sums stay in the order of their parents and ids") {
  const Model flat = [](const Ids&) { return std::vector<float>(4, std::log(0.25f)); };
  const auto best = Search({.width = 3, .max_tokens = 2}, flat);
  CHECK(IdsOf(best[0]) == Ids{0, 0});
  CHECK(IdsOf(best[1]) == Ids{0, 1});
  CHECK(IdsOf(best[2]) == Ids{0, 2});
}

TEST_CASE("tokens carry their logprob and the alternatives that came with them") {
  const Model model = [](const Ids&) -> std::vector<float> { return {-1, -0.6f, -2.5f}; };
  const auto best = Search({.width = 2, .max_tokens = 1}, model);
  CHECK(best[1].tokens[0].id == 0);
  CHECK(best[1].tokens[0].logprob == -1);
  REQUIRE(best[1].tokens[0].top.size() == 1);
  CHECK(best[1].tokens[0].top[0].id == 1);
}

TEST_CASE("a bias counts in sums and scores, and tokens keep their raw logprobs") {
  const Model model = [](const Ids&) -> std::vector<float> { return {-1, -2, -4}; };
  // Id 2 becomes the likeliest, and a longer answer better than a short one: every token adds 1.
  const Options options{.width = 2,
                        .length_penalty = 0,
                        .max_tokens = 3,
                        .stop_token_ids = {0},
                        .logit_bias = {{1, -7}, {2, 5}}};
  const auto best = Search(options, model);
  CHECK(IdsOf(best[0]) == Ids{2, 2, 2});
  CHECK(best[0].sum == 3);
  CHECK(best[0].score == 3);
  CHECK(best[0].tokens[2].logprob == -4);
  CHECK(IdsOf(best[1]) == Ids{2, 2, 0});
}

TEST_CASE("a beam after which nothing may follow ends, and the others go on") {
  const float no = -std::numeric_limits<float>::infinity();
  const Model model = [no](const Ids& ids) -> std::vector<float> {
    if (ids.empty()) return {-0.1f, -3};
    if (ids[0] == 0) return {no, no};
    return {no, -1};
  };
  const auto best = Search({.width = 2, .max_tokens = 2}, model);
  REQUIRE(best.size() == 1);
  CHECK(IdsOf(best[0]) == Ids{1, 1});
  CHECK(Search({.width = 2, .max_tokens = 2}, [no](const Ids&) {
          return std::vector<float>{no};
        }).empty());
}

TEST_CASE("the search finds what the plain definition finds, over random models") {
  const uint32_t seed = std::random_device()();
  INFO("seed " << seed);
  std::minstd_rand random(seed);
  for (int round = 0; round < 300; ++round) {
    const auto salt = static_cast<uint32_t>(random());
    const auto vocab = static_cast<uint32_t>(3 + random() % 12);
    const bool forbids = random() % 2 == 0;
    const Model model = [&](const Ids& ids) {
      uint32_t hash = salt;
      for (uint32_t id : ids) hash = (hash ^ (id + 1)) * 0x01000193u;
      std::minstd_rand draw(hash + 1);
      std::vector<float> weights(vocab);
      float sum = 0;
      // Few different values, so that there are ties.
      for (float& weight : weights) sum += weight = 1 + static_cast<float>(draw() % 5);
      for (float& weight : weights) {
        const bool forbidden = forbids && draw() % 3 == 0;
        weight = forbidden ? -std::numeric_limits<float>::infinity() : std::log(weight / sum);
      }
      return weights;
    };
    Options options{.width = static_cast<uint32_t>(1 + random() % 5),
                    .length_penalty = static_cast<float>(random() % 5) * 0.5f - 0.5f,
                    .max_tokens = static_cast<uint32_t>(1 + random() % 6),
                    .min_tokens = 0,
                    .stop_token_ids = {},
                    .logit_bias = {}};
    options.min_tokens = static_cast<uint32_t>(random() % (options.max_tokens + 1));
    const auto stops = static_cast<uint32_t>(random() % 3);
    for (uint32_t id = 0; id < stops; ++id) options.stop_token_ids.push_back(id);
    for (uint32_t id = 0; id < vocab && round % 2 == 0; ++id) {
      if (random() % 3 == 0) {
        options.logit_bias.push_back({id, static_cast<float>(random() % 9) * 0.5f - 2});
      }
    }
    INFO("round " << round);
    std::vector<Ids> found;
    for (const auto& hypothesis : Search(options, model)) found.push_back(IdsOf(hypothesis));
    CHECK(found == Naive(options, model));
  }
}

}  // namespace
}  // namespace tessera::server
