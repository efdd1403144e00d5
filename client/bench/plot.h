// Small plots as SVG, without a library.
#ifndef TESSERA_CLIENT_BENCH_PLOT_H_
#define TESSERA_CLIENT_BENCH_PLOT_H_

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tessera::client {

struct PlotSeries {
  std::string name;
  std::vector<std::pair<double, double>> points;  // x ascending
};

struct Plot {
  std::string title;
  std::string x_label;
  std::string y_label;
  std::vector<PlotSeries> series;
  std::optional<double> target;  // a dashed line at this y
};

// A whole SVG document, which shows in any browser. Both axes begin at 0.
std::string ToSvg(const Plot& plot);

// A round step so that `range` has 4 to 10 of them: 1, 2 or 5 times a power of ten.
double TickStep(double range);

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_BENCH_PLOT_H_
