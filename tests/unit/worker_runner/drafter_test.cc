#include "worker/runner/drafter.h"

#include <catch2/catch.hpp>
#include <vector>

namespace tessera::worker {
namespace {

using Ids = std::vector<uint32_t>;

Ids Guess(const Ids& ids, uint32_t count, uint32_t least = 1, uint32_t most = 3) {
  Sequence sequence;
  sequence.start.token_ids = ids;
  DraftRequest request{.sequence = &sequence, .count = count, .ids = {}};
  REQUIRE(NgramDrafter(least, most).Propose(absl::MakeSpan(&request, 1)).ok());
  CHECK(sequence.start.token_ids == ids);
  return request.ids;
}

TEST_CASE("what followed the same ids before is the guess") {
  CHECK(Guess({1, 2, 3, 4, 5, 1, 2}, 2) == Ids{3, 4});
  CHECK(Guess({1, 2, 3, 4, 5, 1, 2}, 9) == Ids{3, 4, 5, 1, 2, 3, 4, 5, 1});
  CHECK(Guess({7, 7}, 4) == Ids{7, 7, 7, 7});
}

TEST_CASE("there is no guess where nothing came before") {
  CHECK(Guess({1, 2, 3, 4}, 2).empty());
  CHECK(Guess({1}, 2).empty());
  CHECK(Guess({1, 9, 5, 1}, 2, 2, 3).empty());  // a run of two is wanted
}

TEST_CASE("the longest run decides, and among equals the latest") {
  CHECK(Guess({1, 2, 3, 8, 9, 2, 3, 7, 1, 2, 3}, 1) == Ids{8});
  CHECK(Guess({2, 3, 8, 9, 2, 3, 7, 5, 2, 3}, 1) == Ids{7});
  // Runs longer than the longest that is looked for count as that.
  CHECK(Guess({1, 2, 3, 8, 9, 2, 3, 7, 1, 2, 3}, 1, 1, 2) == Ids{7});
}

TEST_CASE("ids that lie too far back are not read") {
  Ids ids = {1, 2, 3};
  for (uint32_t i = 0; i < NgramDrafter::kLookupWindow; ++i) ids.push_back(100 + i);
  ids.push_back(1);
  CHECK(Guess(ids, 2).empty());
}

TEST_CASE("guesses get longer where they are right, and shorter where they are not") {
  DraftLength length(8);
  CHECK(length.Next() == 8);
  length.Report(8, 2);
  CHECK(length.Next() == 3);
  length.Report(3, 0);
  CHECK(length.Next() == 1);
  length.Report(1, 1);
  CHECK(length.Next() == 8);
  length.Report(0, 0);
  CHECK(length.Next() == 8);
}

TEST_CASE("after four misses in a row there is no guess for eight steps, then for sixteen") {
  DraftLength length(4);
  for (int miss = 0; miss < 4; ++miss) length.Report(1, 0);
  for (int step = 0; step < 8; ++step) CHECK(length.Next() == 0);
  CHECK(length.Next() == 1);
  length.Report(1, 0);
  for (int step = 0; step < 16; ++step) CHECK(length.Next() == 0);
  CHECK(length.Next() == 1);
  length.Report(1, 1);
  CHECK(length.Next() == 4);
}

}  // namespace
}  // namespace tessera::worker
