#include "worker/runner/draw_records.h"

#include <catch2/catch.hpp>
#include <vector>

namespace tessera::worker {
namespace {

struct Rig {
  Sequence sequence;
  std::vector<SequenceWork> work;

  // A prompt's chunk without logits, one with, a draw, and a draw with two drafts.
  Rig() : work(4) {
    sequence.start.prompt_length = 5;
    sequence.start.prompt_logprobs = 0;
    for (SequenceWork& each : work) each.sequence = &sequence;
    work[0] = {.sequence = &sequence, .begin = 7, .end = 8};
    work[1] = {.sequence = &sequence, .begin = 0, .end = 4};
    work[2] = {.sequence = &sequence, .begin = 7, .end = 8, .draws = true};
    work[3] = {.sequence = &sequence, .begin = 7, .end = 8, .draws = true, .num_drafts = 2};
  }
};

TEST_CASE("records arrive as they were, in a number of words that is known before") {
  Rig rig;
  std::vector<DrawRecord> records(4);
  records[1].outcome = DrawRecord::kFailed;
  records[2] = {DrawRecord::kDrawn, {11}, {21, 22, 23}};
  records[3] = {DrawRecord::kDrawn, {12, 13, 14}, {24}};
  const std::vector<uint32_t> words = Pack(rig.work, records, 3);
  CHECK(words.size() == NumWords(rig.work, 3));
  CHECK(words.size() == 0 + 3 + (3 + 1 + 3) + (3 + 3 + 3));
  std::vector<DrawRecord> found(4);
  REQUIRE(Unpack(words, rig.work, 3, &found).ok());
  for (size_t w = 0; w < 4; ++w) {
    CHECK(found[w].outcome == records[w].outcome);
    CHECK(found[w].ids == records[w].ids);
    CHECK(found[w].drafts == records[w].drafts);
  }
}

TEST_CASE("words that are no records of the step are refused") {
  Rig rig;
  std::vector<DrawRecord> records(4);
  records[3] = {DrawRecord::kDrawn, {12}, {}};
  const std::vector<uint32_t> good = Pack(rig.work, records, 3);
  std::vector<DrawRecord> found(4);
  for (size_t at : {size_t{0}, size_t{1}, size_t{2}, size_t{3 + 7 + 1}, size_t{3 + 7 + 2}}) {
    std::vector<uint32_t> bad = good;
    bad[at] = 9;
    CHECK(absl::IsInternal(Unpack(bad, rig.work, 3, &found)));
  }
}

}  // namespace
}  // namespace tessera::worker
