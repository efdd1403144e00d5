#include "client/bench/load_plan.h"

#include <catch2/catch.hpp>
#include <string>

namespace tessera::client {
namespace {

RequestSource Source(double rate, uint64_t seed) {
  return RequestSource(*LengthDistribution::Parse("uniform:1:9"), *LengthDistribution::Parse("4"),
                       rate, seed);
}

TEST_CASE("arrivals of an open loop are a Poisson process of the rate") {
  RequestSource source = Source(50, 1);
  double last = 0;
  double squares = 0;
  constexpr int kCount = 20000;
  for (int i = 0; i < kCount; ++i) {
    const double arrival = source.Next().arrival_s;
    REQUIRE(arrival > last);
    squares += (arrival - last) * (arrival - last);
    last = arrival;
  }
  CHECK(last == Approx(kCount / 50.0).epsilon(0.03));
  // Exponential gaps: the mean square is twice the squared mean.
  CHECK(squares / kCount == Approx(2.0 / (50 * 50)).epsilon(0.06));
}

TEST_CASE("a closed loop's requests have no time of their own, and a seed decides their lengths") {
  RequestSource first = Source(0, 5);
  RequestSource again = Source(0, 5);
  for (int i = 0; i < 20; ++i) {
    const PlannedRequest request = first.Next();
    CHECK(request.arrival_s == 0);
    CHECK(request.output_tokens == 4);
    CHECK(request.input_tokens == again.Next().input_tokens);
  }
}

TEST_CASE("a trace is read by arrival") {
  auto trace = ParseTrace(
      "{\"arrival\": 2.5, \"input\": 30, \"output\": 4}\n\n"
      "{\"arrival\": 0, \"input\": 7, \"output\": 9, \"note\": \"x\"}\n");
  REQUIRE(trace.ok());
  REQUIRE(trace->size() == 2);
  CHECK((*trace)[0].input_tokens == 7);
  CHECK((*trace)[0].output_tokens == 9);
  CHECK((*trace)[1].arrival_s == 2.5);
}

TEST_CASE("a line that is no request is named") {
  const std::string good = "{\"arrival\": 0, \"input\": 1, \"output\": 1}\n";
  for (const char* line : {"{", "[]", "{\"arrival\": 0, \"input\": 1}",
                           "{\"arrival\": -1, \"input\": 1, \"output\": 1}",
                           "{\"arrival\": 0, \"input\": 0, \"output\": 1}",
                           "{\"arrival\": \"0\", \"input\": 1, \"output\": 1}"}) {
    const auto trace = ParseTrace(good + line);
    INFO(line);
    REQUIRE(absl::IsInvalidArgument(trace.status()));
    CHECK(std::string(trace.status().message()).find("line 2") != std::string::npos);
  }
  CHECK(absl::IsInvalidArgument(ParseTrace("\n").status()));
}

TEST_CASE("prompts share their prefix and nothing else") {
  const PromptOptions options = {
      .vocab_size = 5000, .prefix_tokens = 50, .num_prefixes = 2, .seed = 3};
  const auto a = MakePrompt(options, 0, 80);
  const auto b = MakePrompt(options, 1, 80);
  const auto c = MakePrompt(options, 2, 80);
  REQUIRE(a.size() == 80);
  CHECK(std::equal(a.begin(), a.begin() + 50, c.begin()));
  CHECK(a[50] != c[50]);
  CHECK_FALSE(std::equal(a.begin(), a.begin() + 50, b.begin()));
  CHECK(MakePrompt(options, 0, 80) == a);
  for (uint32_t id : a) CHECK(id < 5000);
}

TEST_CASE("a prompt is never its prefix alone") {
  const PromptOptions options = {
      .vocab_size = 20, .prefix_tokens = 10, .num_prefixes = 1, .seed = 3};
  CHECK(MakePrompt(options, 0, 4).size() == 11);
}

}  // namespace
}  // namespace tessera::client
