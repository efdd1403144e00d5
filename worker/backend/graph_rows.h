// How many rows a step of single tokens is padded to on a device, so that few different steps are
// recorded.
#ifndef TESSERA_WORKER_BACKEND_GRAPH_ROWS_H_
#define TESSERA_WORKER_BACKEND_GRAPH_ROWS_H_

#include <cstdint>

namespace tessera::worker {

inline constexpr int64_t kMaxGraphRows = 256;

// 1, 2, 4, 8, then by 8 to 64, then by 16 to 256: the least of them that holds `num_rows`, at least
// 1; 0 where there is none, or it is more than `limit`.
constexpr int64_t GraphRows(int64_t num_rows, int64_t limit) {
  int64_t rows = 1;
  while (rows < num_rows && rows < 8) rows *= 2;
  if (num_rows > 8) rows = (num_rows + 7) / 8 * 8;
  if (num_rows > 64) rows = (num_rows + 15) / 16 * 16;
  return rows <= kMaxGraphRows && rows <= limit ? rows : 0;
}

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_BACKEND_GRAPH_ROWS_H_
