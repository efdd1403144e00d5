#include "client/bench/rate_search.h"

#include <algorithm>

namespace tessera::client {

std::optional<double> RateSearch::Next() const {
  const bool narrow = met_ > 0 && missed_ > 0 && missed_ <= met_ * (1 + precision_);
  if (tries_left_ <= 0 || narrow) return std::nullopt;
  return next_;
}

void RateSearch::Tell(bool met) {
  --tries_left_;
  if (met) {
    met_ = std::max(met_, next_);
  } else {
    missed_ = missed_ == 0 ? next_ : std::min(missed_, next_);
  }
  if (missed_ == 0) {
    next_ = 2 * met_;
  } else if (met_ == 0) {
    next_ = missed_ / 2;
  } else {
    next_ = (met_ + missed_) / 2;
  }
}

}  // namespace tessera::client
