#include "client/bench/report.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace tessera::client {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kMostLateness = 0.1;

double PerSecond(uint64_t count, const LoadResult& result) {
  return result.seconds > 0 ? static_cast<double>(count) / result.seconds : 0;
}

// The part of all CPUs that this process took.
double CpuShare(const LoadResult& result) {
  return result.seconds > 0 ? result.cpu_seconds / (result.seconds * result.cpus) : 0;
}

std::string Row(const char* name, const Percentiles& times) {
  if (times.count == 0) return absl::StrFormat("  %-16s (none)\n", name);
  return absl::StrFormat("  %-16s %9.2f %9.2f %9.2f %9.2f %9.2f %9.2f\n", name, times.mean * 1e3,
                         times.p50 * 1e3, times.p90 * 1e3, times.p95 * 1e3, times.p99 * 1e3,
                         times.max * 1e3);
}

Json ToJson(const Percentiles& times) {
  return {{"count", times.count},      {"mean_ms", times.mean * 1e3}, {"p50_ms", times.p50 * 1e3},
          {"p90_ms", times.p90 * 1e3}, {"p95_ms", times.p95 * 1e3},   {"p99_ms", times.p99 * 1e3},
          {"max_ms", times.max * 1e3}};
}

}  // namespace

bool Meets(const LatencyTarget& target, const LoadResult& result) {
  if (result.succeeded == 0 || result.failed() > 0) return false;
  if (result.lateness.p99 > kMostLateness) return false;
  if (target.ttft_s > 0 && result.ttft.p99 > target.ttft_s) return false;
  return target.inter_token_s <= 0 || result.inter_token.p99 <= target.inter_token_s;
}

std::string ToText(const LoadResult& result) {
  std::string out = absl::StrFormat(
      "requests    %d sent, %d answered, %d failed in %.2f s; at most %d at a time\n"
      "throughput  %.2f requests/s, %.1f tokens/s out, %.1f tokens/s in, %.1f messages/s\n",
      result.sent, result.succeeded, result.failed(), result.seconds, result.peak_streams,
      PerSecond(result.succeeded, result), PerSecond(result.output_tokens, result),
      PerSecond(result.prompt_tokens, result), PerSecond(result.messages, result));
  absl::StrAppendFormat(&out, "tokens      %d out, %d in, of them %d from the prefix cache\n",
                        result.output_tokens, result.prompt_tokens, result.cached_tokens);
  if (result.shortened > 0) {
    absl::StrAppendFormat(&out, "            %d requests were cut to fit the model's context\n",
                          result.shortened);
  }
  absl::StrAppendFormat(&out, "  %-16s %9s %9s %9s %9s %9s %9s\n", "milliseconds", "mean", "p50",
                        "p90", "p95", "p99", "max");
  out += Row("first token", result.ttft);
  out += Row("between tokens", result.inter_token);
  out += Row("whole answer", result.end_to_end);
  if (result.lateness.count > 0) out += Row("sent too late", result.lateness);
  absl::StrAppendFormat(&out, "generator   %.2f of %d CPUs (%.0f %%)\n",
                        CpuShare(result) * result.cpus, result.cpus, CpuShare(result) * 100);
  for (const auto& [why, count] : result.failures) {
    absl::StrAppendFormat(&out, "failed      %d x %s\n", count, why);
  }
  return out;
}

Json ToJson(const LoadResult& result) {
  Json failures = Json::object();
  for (const auto& [why, count] : result.failures) failures[why] = count;
  return {{"seconds", result.seconds},
          {"sent", result.sent},
          {"succeeded", result.succeeded},
          {"failed", result.failed()},
          {"failures", std::move(failures)},
          {"shortened", result.shortened},
          {"peak_streams", result.peak_streams},
          {"prompt_tokens", result.prompt_tokens},
          {"cached_tokens", result.cached_tokens},
          {"output_tokens", result.output_tokens},
          {"messages", result.messages},
          {"requests_per_second", PerSecond(result.succeeded, result)},
          {"output_tokens_per_second", PerSecond(result.output_tokens, result)},
          {"messages_per_second", PerSecond(result.messages, result)},
          {"ttft", ToJson(result.ttft)},
          {"inter_token", ToJson(result.inter_token)},
          {"end_to_end", ToJson(result.end_to_end)},
          {"lateness", ToJson(result.lateness)},
          {"generator_cpu_seconds", result.cpu_seconds},
          {"generator_cpu_share", CpuShare(result)}};
}

Json ToJson(const SweepPoint& point) {
  return {{"rate", point.rate}, {"met", point.met}, {"result", ToJson(point.result)}};
}

Plot ToPlot(const std::vector<SweepPoint>& points, const LatencyTarget& target) {
  std::vector<const SweepPoint*> ascending;
  for (const SweepPoint& point : points) ascending.push_back(&point);
  std::sort(ascending.begin(), ascending.end(),
            [](const SweepPoint* a, const SweepPoint* b) { return a->rate < b->rate; });
  Plot plot{.title = "Latency by load",
            .x_label = "requests per second",
            .y_label = "milliseconds",
            .series = {{"first token, p50", {}},
                       {"first token, p99", {}},
                       {"between tokens, p50", {}},
                       {"between tokens, p99", {}}},
            .target = std::nullopt};
  for (const SweepPoint* point : ascending) {
    const LoadResult& result = point->result;
    plot.series[0].points.emplace_back(point->rate, result.ttft.p50 * 1e3);
    plot.series[1].points.emplace_back(point->rate, result.ttft.p99 * 1e3);
    plot.series[2].points.emplace_back(point->rate, result.inter_token.p50 * 1e3);
    plot.series[3].points.emplace_back(point->rate, result.inter_token.p99 * 1e3);
  }
  const double line = target.ttft_s > 0 ? target.ttft_s : target.inter_token_s;
  if (line > 0) plot.target = line * 1e3;
  return plot;
}

}  // namespace tessera::client
