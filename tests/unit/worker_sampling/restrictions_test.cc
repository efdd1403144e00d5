#include "worker/sampling/restrictions.h"

#include <catch2/catch.hpp>
#include <limits>
#include <vector>

namespace tessera::worker {
namespace {

constexpr float kNo = -std::numeric_limits<float>::infinity();

using Values = std::vector<float>;

Values Forbidden(const Restrictions& restrictions, const std::vector<uint32_t>& generated) {
  Values values = {1, 2, 3, 4, 5};
  Forbid(restrictions, generated, absl::MakeSpan(values));
  return values;
}

TEST_CASE("only allowed ids are left, in whatever order and how often they are named") {
  CHECK(Forbidden({.allowed_ids = {3, 1, 3}}, {}) == Values{kNo, 2, kNo, 4, kNo});
  CHECK(Forbidden({.allowed_ids = {0, 4}}, {}) == Values{1, kNo, kNo, kNo, 5});
  CHECK(Forbidden({.allowed_ids = {0, 1, 2, 3, 4}}, {}) == Values{1, 2, 3, 4, 5});
  CHECK(Forbidden({}, {}) == Values{1, 2, 3, 4, 5});
}

TEST_CASE("a bad word of one id is never drawn") {
  CHECK(Forbidden({.bad_words = {{2}, {4}}}, {0, 1}) == Values{1, 2, kNo, 4, kNo});
}

TEST_CASE("the last id of a longer bad word is forbidden where the others end the output") {
  const Restrictions word{.bad_words = {{0, 1, 2}}};
  CHECK(Forbidden(word, {}) == Values{1, 2, 3, 4, 5});
  CHECK(Forbidden(word, {1}) == Values{1, 2, 3, 4, 5});
  CHECK(Forbidden(word, {0, 1}) == Values{1, 2, kNo, 4, 5});
  CHECK(Forbidden(word, {4, 0, 1}) == Values{1, 2, kNo, 4, 5});
  CHECK(Forbidden(word, {0, 1, 4}) == Values{1, 2, 3, 4, 5});
  CHECK(Forbidden(word, {0, 4, 1}) == Values{1, 2, 3, 4, 5});
}

TEST_CASE("allowed ids and bad words hold together") {
  CHECK(Forbidden({.allowed_ids = {1, 2}, .bad_words = {{3, 2}}}, {3}) ==
        Values{kNo, 2, kNo, kNo, kNo});
}

TEST_CASE("a bias is added to its logit alone, and does not bring back what is forbidden") {
  Values values = {1, kNo, 3};
  AddBias({.logit_bias = {{0, -2.5f}, {1, 100}}}, absl::MakeSpan(values));
  CHECK(values == Values{-1.5f, kNo, 3});
}

}  // namespace
}  // namespace tessera::worker
