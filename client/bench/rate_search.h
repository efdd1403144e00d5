// Finds the highest rate that meets a target, by trying. Pure.
#ifndef TESSERA_CLIENT_BENCH_RATE_SEARCH_H_
#define TESSERA_CLIENT_BENCH_RATE_SEARCH_H_

#include <optional>

namespace tessera::client {

// Doubles the rate until the target is missed (or halves it until it is met), then bisects until
// the two ends are within `precision` of each other. Thread-compatible.
class RateSearch {
 public:
  RateSearch(double first, double precision, int max_tries)
      : next_(first), precision_(precision), tries_left_(max_tries) {}

  // What to try now; nothing where the search is over.
  std::optional<double> Next() const;
  // Whether the rate that Next() gave meets the target.
  void Tell(bool met);
  // The highest rate that met it; 0: none did.
  double best() const { return met_; }

 private:
  double next_;
  const double precision_;  // 0.1: the missed rate is at most 10 % above the met one
  int tries_left_;
  double met_ = 0;
  double missed_ = 0;  // 0: none yet
};

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_BENCH_RATE_SEARCH_H_
