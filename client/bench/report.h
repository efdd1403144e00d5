// What a load has shown, for people and for programs.
#ifndef TESSERA_CLIENT_BENCH_REPORT_H_
#define TESSERA_CLIENT_BENCH_REPORT_H_

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "client/bench/load_run.h"
#include "client/bench/plot.h"

namespace tessera::client {

// One try of a sweep.
struct SweepPoint {
  double rate = 0;  // requests a second that were sent
  bool met = false;
  LoadResult result;
};

// What a sweep must not exceed at p99; 0: not asked for.
struct LatencyTarget {
  double ttft_s = 0;
  double inter_token_s = 0;
};

// Whether every request was answered, within the target, and sent in time: where the generator
// itself fell behind by 100 ms at p99 it proves nothing.
bool Meets(const LatencyTarget& target, const LoadResult& result);

std::string ToText(const LoadResult& result);
nlohmann::ordered_json ToJson(const LoadResult& result);
nlohmann::ordered_json ToJson(const SweepPoint& point);
// Latencies at p99 over the rate, with the target.
Plot ToPlot(const std::vector<SweepPoint>& points, const LatencyTarget& target);

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_BENCH_REPORT_H_
