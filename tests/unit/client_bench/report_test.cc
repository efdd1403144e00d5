#include "client/bench/report.h"

#include <catch2/catch.hpp>

namespace tessera::client {
namespace {

LoadResult Good() {
  LoadResult result;
  result.seconds = 2;
  result.sent = 10;
  result.succeeded = 10;
  result.output_tokens = 400;
  result.messages = 300;
  result.ttft = {
      .count = 10, .mean = 0.1, .p50 = 0.1, .p90 = 0.1, .p95 = 0.1, .p99 = 0.25, .max = 0.3};
  result.inter_token = result.ttft;
  result.end_to_end = result.ttft;
  result.cpu_seconds = 1;
  result.cpus = 4;
  return result;
}

TEST_CASE("a target is met only by whole answers in time, from a generator in time") {
  CHECK(Meets({.ttft_s = 0.25}, Good()));
  CHECK_FALSE(Meets({.ttft_s = 0.24}, Good()));
  CHECK_FALSE(Meets({.ttft_s = 0, .inter_token_s = 0.2}, Good()));
  LoadResult failed = Good();
  failed.failures["UNAVAILABLE: gone"] = 1;
  CHECK_FALSE(Meets({.ttft_s = 1}, failed));
  LoadResult late = Good();
  late.lateness.p99 = 0.2;
  CHECK_FALSE(Meets({.ttft_s = 1}, late));
  CHECK_FALSE(Meets({.ttft_s = 1}, LoadResult()));
}

TEST_CASE("JSON tells rates per second, milliseconds and the generator's part of the CPUs") {
  const auto json = ToJson(Good());
  CHECK(json["requests_per_second"] == 5.0);
  CHECK(json["output_tokens_per_second"] == 200.0);
  CHECK(json["messages_per_second"] == 150.0);
  CHECK(json["ttft"]["p99_ms"] == 250.0);
  CHECK(json["generator_cpu_share"] == 0.125);
  CHECK(json["failed"] == 0);
}

TEST_CASE("text tells failures by their cause") {
  LoadResult result = Good();
  result.failures["UNAVAILABLE: gone"] = 2;
  const std::string text = ToText(result);
  CHECK(text.find("2 failed") != std::string::npos);
  CHECK(text.find("2 x UNAVAILABLE: gone") != std::string::npos);
  CHECK(text.find("0.50 of 4 CPUs (12 %)") != std::string::npos);
}

TEST_CASE("a sweep's plot is by rate, whatever the order of the tries") {
  std::vector<SweepPoint> points = {{.rate = 8, .met = false, .result = Good()},
                                    {.rate = 2, .met = true, .result = Good()}};
  const Plot plot = ToPlot(points, {.ttft_s = 0.5});
  REQUIRE(plot.series.size() == 4);
  CHECK(plot.series[1].points[0] == std::pair(2.0, 250.0));
  CHECK(plot.series[1].points[1].first == 8.0);
  CHECK(plot.target == 500.0);
}

}  // namespace
}  // namespace tessera::client
