#include "client/bench/lengths.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <vector>

namespace tessera::client {
namespace {

std::vector<uint32_t> Samples(std::string_view text, size_t count, uint64_t seed = 7) {
  auto lengths = LengthDistribution::Parse(text);
  REQUIRE(lengths.ok());
  Random random(seed);
  std::vector<uint32_t> samples;
  for (size_t i = 0; i < count; ++i) samples.push_back(lengths->Sample(random));
  return samples;
}

double Mean(const std::vector<uint32_t>& values) {
  double sum = 0;
  for (uint32_t value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

TEST_CASE("a number is always itself") {
  CHECK(Samples("128", 3) == std::vector<uint32_t>{128, 128, 128});
}

TEST_CASE("uniform lengths reach both ends and nothing beyond") {
  const auto samples = Samples("uniform:3:6", 2000);
  CHECK(*std::min_element(samples.begin(), samples.end()) == 3);
  CHECK(*std::max_element(samples.begin(), samples.end()) == 6);
  // The standard error is 0.025.
  CHECK(Mean(samples) == Approx(4.5).margin(0.15));
}

TEST_CASE("the other distributions have the mean or the median that they are given") {
  CHECK(Mean(Samples("normal:200:20", 4000)) == Approx(200).margin(2));
  CHECK(Mean(Samples("exponential:100", 4000)) == Approx(100).margin(8));
  auto samples = Samples("lognormal:100:0.5", 4001);
  std::nth_element(samples.begin(), samples.begin() + 2000, samples.end());
  CHECK(samples[2000] == Approx(100).margin(5));
  // sigma 0.5: 84 % lie below 100 * e^0.5.
  const auto below =
      std::count_if(samples.begin(), samples.end(), [](uint32_t value) { return value <= 165; });
  CHECK(below == Approx(4001 * 0.8413).margin(120));
}

TEST_CASE("no length is below one token") {
  const auto samples = Samples("normal:1:50", 500);
  CHECK(*std::min_element(samples.begin(), samples.end()) == 1);
}

TEST_CASE("a seed gives the same lengths every time") {
  CHECK(Samples("exponential:100", 20, 3) == Samples("exponential:100", 20, 3));
  CHECK(Samples("exponential:100", 20, 3) != Samples("exponential:100", 20, 4));
}

TEST_CASE("what is no length is refused") {
  for (const char* text :
       {"", "0", "1.5", "-3", "many", "uniform:5", "uniform:6:5", "normal:3", "gauss:1:2",
        "normal:a:b", "uniform:1:2:3", "nan", "normal:nan:1", "exponential:1e12"}) {
    INFO(text);
    CHECK(absl::IsInvalidArgument(LengthDistribution::Parse(text).status()));
  }
}

}  // namespace
}  // namespace tessera::client
