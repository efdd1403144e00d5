// Several sums of equally many columns, laid in a row: which pieces of them a range of columns is.
#ifndef TESSERA_WORKER_COMM_LANE_SEGMENTS_H_
#define TESSERA_WORKER_COMM_LANE_SEGMENTS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace tessera::worker {

// Columns of one sum.
struct LaneSegment {
  size_t sum = 0;
  int64_t begin = 0;
  int64_t size = 0;
};

// Calls `fn` for every piece of columns [begin, end) of `sums` sums of `count` columns, ascending.
template <typename Fn>
void ForLaneSegments(size_t sums, int64_t count, int64_t begin, int64_t end, const Fn& fn) {
  for (size_t sum = 0; sum < sums; ++sum) {
    const int64_t before = static_cast<int64_t>(sum) * count;
    const int64_t from = std::max(begin - before, int64_t{0});
    const int64_t to = std::min(end - before, count);
    if (from < to) fn(LaneSegment{sum, from, to - from});
  }
}

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_COMM_LANE_SEGMENTS_H_
