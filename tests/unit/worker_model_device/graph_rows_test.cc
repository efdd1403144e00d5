#include "worker/backend/graph_rows.h"

#include <catch2/catch.hpp>
#include <utility>
#include <vector>

namespace tessera::worker {
namespace {

TEST_CASE("steps of single tokens are padded to few sizes") {
  const std::vector<std::pair<int64_t, int64_t>> sizes = {
      {1, 1},   {2, 2},   {3, 4},   {5, 8},   {8, 8},   {9, 16},    {16, 16},
      {17, 24}, {63, 64}, {64, 64}, {65, 80}, {80, 80}, {255, 256}, {256, 256}};
  for (const auto& [rows, padded] : sizes) {
    INFO(rows << " rows");
    CHECK(GraphRows(rows, 4096) == padded);
  }
}

TEST_CASE("steps that are too large, or would not fit the workspace padded, are not") {
  CHECK(GraphRows(257, 4096) == 0);
  CHECK(GraphRows(9, 15) == 0);
  CHECK(GraphRows(9, 16) == 16);
}

}  // namespace
}  // namespace tessera::worker
