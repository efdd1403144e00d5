#include "shard_loader/plan/stages.h"

#include <catch2/catch.hpp>

namespace tessera::shard_loader {
namespace {

TEST_CASE("equal layers without ends are shared evenly, the larger stages first") {
  CHECK(CutStages({{1, 1, 1, 1, 1, 1}, 0, 0}, 4) ==
        std::vector<Range>{{0, 2}, {2, 4}, {4, 5}, {5, 6}});
  CHECK(CutStages({{1, 1, 1, 1}, 0, 0}, 4) == std::vector<Range>{{0, 1}, {1, 2}, {2, 3}, {3, 4}});
  CHECK(CutStages({{5, 5, 5}, 9, 9}, 1) == std::vector<Range>{{0, 3}});
}

TEST_CASE("embedding and head count on the first and the last stage") {
  CHECK(CutStages({{1, 1, 1, 1, 1, 1, 1, 1}, 3, 3}, 4) ==
        std::vector<Range>{{0, 1}, {1, 4}, {4, 7}, {7, 8}});
  CHECK(CutStages({{10, 10, 10, 10}, 20, 0}, 2) == std::vector<Range>{{0, 1}, {1, 4}});
}

TEST_CASE("every stage has a layer however heavy the ends are") {
  CHECK(CutStages({{1, 1, 1}, 1000, 1000}, 3) == std::vector<Range>{{0, 1}, {1, 2}, {2, 3}});
  CHECK(CutStages({{1, 1, 1, 1}, 1000, 1}, 3) == std::vector<Range>{{0, 1}, {1, 3}, {3, 4}});
}

TEST_CASE("uneven layers are cut where the heaviest stage is lightest") {
  CHECK(CutStages({{9, 1, 1, 1, 8}, 0, 0}, 3) == std::vector<Range>{{0, 1}, {1, 4}, {4, 5}});
}

}  // namespace
}  // namespace tessera::shard_loader
