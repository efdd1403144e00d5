#include "client/bench/plot.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace tessera::client {
namespace {

constexpr double kWidth = 760;
constexpr double kHeight = 440;
constexpr double kLeft = 80;
constexpr double kRight = 20;
constexpr double kTop = 50;
constexpr double kBottom = 60;
constexpr std::array<const char*, 6> kColors = {"#2166ac", "#b2182b", "#1b7837",
                                                "#762a83", "#b35806", "#4d4d4d"};

std::string Text(const std::string& text) {
  return absl::StrReplaceAll(text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}});
}

struct Scale {
  double most = 1;
  double begin = 0;
  double end = 0;
  double At(double value) const { return begin + (end - begin) * value / most; }
};

std::string Label(double x, double y, const char* anchor, const std::string& text) {
  return absl::StrFormat("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", x, y, anchor,
                         Text(text));
}

std::string Line(double x1, double y1, double x2, double y2, const char* style) {
  return absl::StrFormat("<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" %s/>\n", x1, y1, x2,
                         y2, style);
}

std::string Axes(const Plot& plot, const Scale& x, const Scale& y) {
  constexpr char kGrid[] = "stroke=\"#ddd\"";
  std::string out;
  const double x_step = TickStep(x.most);
  for (double tick = 0; tick <= x.most * 1.0001; tick += x_step) {
    out += Line(x.At(tick), y.begin, x.At(tick), y.end, kGrid);
    out += Label(x.At(tick), y.begin + 18, "middle", absl::StrFormat("%g", tick));
  }
  const double y_step = TickStep(y.most);
  for (double tick = 0; tick <= y.most * 1.0001; tick += y_step) {
    out += Line(x.begin, y.At(tick), x.end, y.At(tick), kGrid);
    out += Label(x.begin - 8, y.At(tick) + 4, "end", absl::StrFormat("%g", tick));
  }
  out += Label((x.begin + x.end) / 2, kHeight - 16, "middle", plot.x_label);
  out += absl::StrFormat(
      "<text transform=\"translate(18 %.1f) rotate(-90)\" text-anchor=\"middle\">%s</text>\n",
      (y.begin + y.end) / 2, Text(plot.y_label));
  return out;
}

std::string Curve(const PlotSeries& series, const char* color, const Scale& x, const Scale& y) {
  std::string points;
  std::string dots;
  for (const auto& [px, py] : series.points) {
    absl::StrAppendFormat(&points, "%.1f,%.1f ", x.At(px), y.At(py));
    absl::StrAppendFormat(&dots, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n",
                          x.At(px), y.At(py), color);
  }
  return absl::StrFormat(
             "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2\" points=\"%s\"/>\n", color,
             points) +
         dots;
}

}  // namespace

double TickStep(double range) {
  if (!(range > 0)) return 1;
  const double power = std::pow(10.0, std::floor(std::log10(range / 4)));
  for (double step : {1.0, 2.0, 5.0}) {
    if (range / (step * power) <= 10) return step * power;
  }
  return 10 * power;
}

std::string ToSvg(const Plot& plot) {
  Scale x{.most = 0, .begin = kLeft, .end = kWidth - kRight};
  Scale y{.most = plot.target.value_or(0), .begin = kHeight - kBottom, .end = kTop};
  for (const PlotSeries& series : plot.series) {
    for (const auto& [px, py] : series.points) {
      x.most = std::max(x.most, px);
      y.most = std::max(y.most, py);
    }
  }
  if (x.most <= 0) x.most = 1;
  y.most = y.most > 0 ? y.most * 1.05 : 1;
  std::string out = absl::StrFormat(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
      "font-family=\"sans-serif\" font-size=\"12\">\n"
      "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
      kWidth, kHeight);
  out += Label(kWidth / 2, 24, "middle", plot.title);
  out += Axes(plot, x, y);
  if (plot.target) {
    out += Line(x.begin, y.At(*plot.target), x.end, y.At(*plot.target),
                "stroke=\"#b2182b\" stroke-dasharray=\"6 4\"");
  }
  for (size_t i = 0; i < plot.series.size(); ++i) {
    const char* color = kColors[i % kColors.size()];
    out += Curve(plot.series[i], color, x, y);
    const double row = kTop + 16 * static_cast<double>(i);
    out += Line(kLeft + 12, row, kLeft + 32, row,
                absl::StrFormat("stroke=\"%s\" stroke-width=\"2\"", color).c_str());
    out += Label(kLeft + 38, row + 4, "start", plot.series[i].name);
  }
  return out + "</svg>\n";
}

}  // namespace tessera::client
