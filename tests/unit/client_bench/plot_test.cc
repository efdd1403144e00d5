#include "client/bench/plot.h"

#include <catch2/catch.hpp>

namespace tessera::client {
namespace {

size_t Count(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST_CASE("ticks are round and neither few nor many") {
  CHECK(TickStep(10) == 1);
  CHECK(TickStep(11) == 2);
  CHECK(TickStep(45) == 10);
  CHECK(TickStep(0.7) == Approx(0.1));
  CHECK(TickStep(0) == 1);
  for (double range = 0.013; range < 1e6; range *= 1.7) {
    const double ticks = range / TickStep(range);
    INFO(range);
    CHECK(ticks >= 4);
    CHECK(ticks <= 10);
  }
}

TEST_CASE("a plot has a curve for each series, its points, and the target") {
  const Plot plot = {.title = "a < b",
                     .x_label = "x",
                     .y_label = "y",
                     .series = {{"one", {{0, 0}, {10, 20}}}, {"two", {{5, 1}}}},
                     .target = 5};
  const std::string svg = ToSvg(plot);
  CHECK(svg.substr(0, 4) == "<svg");
  CHECK(Count(svg, "<polyline") == 2);
  CHECK(Count(svg, "<circle") == 3);
  CHECK(Count(svg, "stroke-dasharray") == 1);
  CHECK(svg.find("a &lt; b") != std::string::npos);
  // The origin, and the largest x, in the frame of 80 to 740 by 380 to 50.
  CHECK(svg.find("points=\"80.0,380.0 740.0,65.7 \"") != std::string::npos);
  CHECK(Count(svg, "<") == Count(svg, ">"));
}

TEST_CASE("a plot without points is still a document") {
  CHECK(ToSvg(Plot()).find("</svg>") != std::string::npos);
}

}  // namespace
}  // namespace tessera::client
