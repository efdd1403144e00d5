#include "worker/sampling/candidates.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

namespace tessera::worker {
namespace {

using Ids = std::vector<uint32_t>;

// Ids 10, 11, ... with the logarithms of these probabilities as values.
std::vector<Candidate> FromProbabilities(const std::vector<float>& probabilities) {
  std::vector<Candidate> candidates;
  for (float probability : probabilities) {
    candidates.push_back(
        {10 + static_cast<uint32_t>(candidates.size()), std::log(probability), probability});
  }
  return candidates;
}

template <typename Filter>
Ids Kept(std::vector<Candidate> candidates, const Filter& filter) {
  const int64_t count = filter(absl::MakeSpan(candidates));
  Ids ids;
  for (int64_t i = 0; i < count; ++i) ids.push_back(candidates[i].id);
  return ids;
}

Ids TopK(const std::vector<float>& probabilities, int64_t count) {
  return Kept(FromProbabilities(probabilities),
              [&](absl::Span<Candidate> c) { return KeepTopK(c, count); });
}
Ids TopP(const std::vector<float>& probabilities, float mass) {
  return Kept(FromProbabilities(probabilities),
              [&](absl::Span<Candidate> c) { return KeepTopP(c, mass); });
}
Ids Typical(const std::vector<float>& probabilities, float mass) {
  return Kept(FromProbabilities(probabilities),
              [&](absl::Span<Candidate> c) { return KeepTypical(c, mass); });
}

TEST_CASE("top-k keeps the highest, ascending by id, and the lower id of equals") {
  CHECK(TopK({0.1f, 0.4f, 0.2f, 0.3f}, 2) == Ids{11, 13});
  CHECK(TopK({0.25f, 0.25f, 0.25f, 0.25f}, 3) == Ids{10, 11, 12});
  CHECK(TopK({0.5f, 0.5f}, 7) == Ids{10, 11});
}

TEST_CASE("top-p keeps the fewest that reach the mass") {
  CHECK(TopP({0.125f, 0.5f, 0.25f, 0.125f}, 0.5f) == Ids{11});
  CHECK(TopP({0.125f, 0.5f, 0.25f, 0.125f}, 0.51f) == Ids{11, 12});
  CHECK(TopP({0.125f, 0.5f, 0.25f, 0.125f}, 0.8f) == Ids{10, 11, 12});
  CHECK(TopP({0.125f, 0.5f, 0.25f, 0.125f}, 1.0f) == Ids{10, 11, 12, 13});
  CHECK(TopP({0.2f, 0.8f}, 0.0f) == Ids{11});
}

TEST_CASE("top-p works past the part that is sorted first, on weights that are not normalised") {
  const std::vector<float> flat(1000, 2.0f);
  const Ids kept = TopP(flat, 0.5f);
  REQUIRE(kept.size() == 500);
  CHECK(kept.front() == 10);
  CHECK(kept.back() == 509);
  CHECK(TopP(flat, 0.9985f).size() == 999);
}

TEST_CASE("typical keeps what is nearest to the entropy, not what is likeliest") {
  // Entropy 1.16 nats: -log p is 0.69 for 11, 1.61 for 10 and 12, 2.3 for 13.
  CHECK(Typical({0.2f, 0.5f, 0.2f, 0.1f}, 0.3f) == Ids{10, 12});
  CHECK(Typical({0.2f, 0.5f, 0.2f, 0.1f}, 0.19f) == Ids{10});
  CHECK(Typical({0.2f, 0.5f, 0.2f, 0.1f}, 0.5f) == Ids{10, 11, 12});
}

TEST_CASE("typical works past the part that is sorted first") {
  // A likely id, then 900 that are all as near to the entropy as can be, then unlikely ones.
  std::vector<float> probabilities = {0.05f};
  probabilities.insert(probabilities.end(), 900, 0.001f);
  probabilities.insert(probabilities.end(), 500, 0.0001f);
  for (auto [mass, expected] : {std::pair{0.29995f, 300u}, std::pair{0.0005f, 1u}}) {
    const Ids kept = Typical(probabilities, mass);
    REQUIRE(kept.size() == expected);
    CHECK(kept.front() == 11);
    CHECK(kept.back() == 10 + expected);
  }
  CHECK(Typical(probabilities, 1.0f).size() == probabilities.size());
}

TEST_CASE("a draw walks the ids ascending") {
  const std::vector<Candidate> candidates = FromProbabilities({0.25f, 0.5f, 0.25f});
  CHECK(DrawAt(candidates, 0.0) == 10);
  CHECK(DrawAt(candidates, 0.2499) == 10);
  CHECK(DrawAt(candidates, 0.25) == 11);
  CHECK(DrawAt(candidates, 0.7499) == 11);
  CHECK(DrawAt(candidates, 0.75) == 12);
  CHECK(DrawAt(candidates, 0.9999999) == 12);
}

}  // namespace
}  // namespace tessera::worker
