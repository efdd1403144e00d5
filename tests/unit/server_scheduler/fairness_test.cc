#include <catch2/catch.hpp>

#include <map>
#include <random>

#include "tests/unit/server_scheduler/bench.h"

namespace tessera::server {
namespace {

SequenceInfo Of(const std::string& tenant, int32_t priority = 0,
                absl::Time arrival = absl::UnixEpoch()) {
  SequenceInfo info;
  info.tenant = tenant;
  info.priority = priority;
  info.arrival = arrival;
  return info;
}

absl::Time At(double seconds) { return absl::UnixEpoch() + absl::Seconds(seconds); }

TEST_CASE("the highest priority comes first, in it the first that came") {
  Bench bench(Options(4, 4, 16));
  REQUIRE(bench.Add(1, 4, 8, Of("a", 0)));
  REQUIRE(bench.Add(2, 4, 8, Of("a", 2)));
  REQUIRE(bench.Add(3, 4, 8, Of("a", 2)));
  CHECK(bench.Next() == "+2#1 2:4[0,]");
  CHECK(bench.Then() == "+3#1 2:1[1,] 3:3[2,]");
}

TEST_CASE("waiting counts as priority, so that the lowest is not overtaken for ever") {
  SchedulerOptions options = Options(4, 1, 16);
  options.queue.aging = absl::Seconds(10);
  for (double waited : {19.0, 21.0}) {
    Bench bench(options);
    bench.now = At(100);
    REQUIRE(bench.Add(1, 4, 8, Of("a", 0, At(100 - waited))));
    REQUIRE(bench.Add(2, 4, 8, Of("a", 2, At(100))));
    CHECK(bench.Next() == (waited > 20 ? "+1#1 1:4[0,]" : "+2#1 2:4[0,]"));
  }
}

TEST_CASE("a wait longer than any clock is no more than the highest level") {
  SchedulerOptions options = Options(4, 1, 16);
  options.queue.aging = absl::Nanoseconds(1);
  Bench bench(options);
  bench.now = absl::InfiniteFuture();
  REQUIRE(bench.Add(1, 4, 8, Of("a", -100, absl::InfinitePast())));
  REQUIRE(bench.Add(2, 4, 8, Of("a", 100)));
  CHECK(bench.Next() == "+1#1 1:4[0,]");
}

TEST_CASE("a higher priority takes the seat of a lower one, never of an equal one") {
  Bench bench(Options(8, 1, 16));
  REQUIRE(bench.Add(1, 4, 12, Of("a", 0)));
  CHECK(bench.Next() == "+1#1 1:4[0,]");
  REQUIRE(bench.Add(2, 4, 12, Of("a", 0)));
  CHECK(bench.Then() == "1:1[1,]");
  REQUIRE(bench.Add(3, 4, 12, Of("a", 1)));
  CHECK(bench.Then() == "+3#1 -1 3:4[1,]");
}

TEST_CASE("the youngest of the lowest priority is preempted, the oldest of the highest never") {
  SchedulerOptions options = Options(16, 4, 6);
  options.prefix_cache = false;
  Bench bench(options);
  REQUIRE(bench.Add(1, 4, 20, Of("a", 0)));
  REQUIRE(bench.Add(2, 4, 20, Of("a", 0)));
  REQUIRE(bench.Add(3, 4, 20, Of("a", 1)));
  bench.Next();
  std::string step;
  while (bench.scheduler.num_preemptions() == 0) step = bench.Then();
  CHECK(step == "-2 3:1[2,] 1:1[5,]");
  while (bench.scheduler.num_preemptions() == 1) step = bench.Then();
  CHECK(step == "-1 3:1[1,]");
}

TEST_CASE("tenants take turns by what they were served, first come within one") {
  Bench bench(Options(4, 4, 32));
  for (uint64_t id : {1, 2, 3}) REQUIRE(bench.Add(id, 4, 5, Of("a")));
  for (uint64_t id : {4, 5}) REQUIRE(bench.Add(id, 4, 5, Of("b")));
  std::string order;
  for (int i = 0; i < 5; ++i) {
    auto step = bench.scheduler.Next(bench.now);
    REQUIRE(step.has_value());
    order += std::to_string(step->starts.at(0).sequence);
    const uint64_t id = step->starts[0].sequence;
    bench.Report();
    bench.Remove(id);
  }
  CHECK(order == "14253");
}

TEST_CASE("a tenant that comes back has saved nothing up") {
  Bench bench(Options(4, 4, 64));
  uint64_t next = 1;
  REQUIRE(bench.Add(next++, 4, 5, Of("a")));
  for (int i = 0; i < 20; ++i) {  // the other one alone is served for a long time
    REQUIRE(bench.Add(next, 4, 5, Of("b")));
    bench.Next();
    bench.Report();
    if (i == 0) bench.Remove(1);
    if (next > 2) bench.Remove(next - 1);
    ++next;
  }
  for (int i = 0; i < 4; ++i) {
    REQUIRE(bench.Add(next++, 4, 5, Of("a")));
    REQUIRE(bench.Add(next++, 4, 5, Of("b")));
  }
  int of_a = 0;
  for (int i = 0; i < 4; ++i) {
    auto step = bench.scheduler.Next(bench.now);
    REQUIRE(step.has_value());
    for (const auto& start : step->starts) {
      of_a += start.sequence % 2 == (next - 2) % 2;
    }
    bench.Report();
    for (const auto& entry : step->entries) bench.Remove(entry.sequence);
  }
  CHECK(of_a == 2);
}

// Tenants with as many waiting requests as there can be, of different shapes; what each was given
// of the tokens computed.
std::map<std::string, double> Shares(const std::map<std::string, double>& weights, uint32_t seed) {
  SchedulerOptions options = Options(32, 8, 64);
  options.queue.weights = weights;
  options.max_in_flight = 2;
  options.queue.aging = absl::Seconds(1);
  Bench bench(options);
  std::mt19937 random(seed);
  std::map<uint64_t, std::string> living;
  std::map<std::string, double> served;
  std::map<std::string, int> waiting;
  uint64_t next = 1;
  double all = 0;
  for (int i = 0; i < 20000; ++i) {
    bench.now += absl::Milliseconds(20);
    for (const auto& [tenant, weight] : weights) {
      // Each asks in its own way: many short ones, or few long ones.
      const uint32_t scale = 1 + static_cast<uint32_t>(tenant.back() - 'a') * 3;
      while (waiting[tenant] < 10) {
        const uint32_t length = 1 + random() % (8 * scale);
        REQUIRE(
            bench.Add(next, length, length + 1 + random() % (6 * scale), Of(tenant, 0, bench.now)));
        living[next++] = tenant;
        ++waiting[tenant];
      }
    }
    while (auto step = bench.scheduler.Next(bench.now)) {
      for (const auto& start : step->starts)
        waiting[living.at(start.sequence)] -= start.admission == 1;
      for (const auto& entry : step->entries) {
        served[living.at(entry.sequence)] += entry.num_tokens;
        all += entry.num_tokens;
      }
    }
    const auto parts = bench.scheduler.flights().front().parts;
    bench.Report();
    for (const auto& part : parts) {
      if (living.count(part.sequence) == 0) continue;
      if (bench.log(part.sequence).size() < bench.max_length(part.sequence)) continue;
      bench.Remove(part.sequence);
      living.erase(part.sequence);
    }
  }
  for (auto& [tenant, tokens] : served) tokens /= all;
  return served;
}

TEST_CASE("greedy tenants get their shares of the tokens within five per cent") {
  for (uint32_t seed : {1, 2, 3}) {
    for (const auto& weights : {std::map<std::string, double>{{"a", 1}, {"b", 1}},
                                {{"a", 1}, {"b", 1}, {"c", 1}, {"d", 1}},
                                {{"a", 4}, {"b", 2}, {"c", 1}},
                                {{"a", 0.5}, {"b", 3}}}) {
      double sum = 0;
      for (const auto& [tenant, weight] : weights) sum += weight;
      const auto shares = Shares(weights, seed);
      for (const auto& [tenant, weight] : weights) {
        INFO("seed " << seed << ", tenant " << tenant << " of weight " << weight << " of " << sum);
        CHECK(shares.at(tenant) == Approx(weight / sum).epsilon(0.05));
      }
    }
  }
}

}  // namespace
}  // namespace tessera::server
