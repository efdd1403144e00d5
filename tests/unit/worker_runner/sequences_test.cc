#include "worker/runner/sequences.h"

#include <catch2/catch.hpp>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/worker_runner/small_sequences.h"

namespace tessera::worker {
namespace {

StepInput StepOf(std::vector<SequenceStart> starts, std::vector<SequenceStep> entries,
                 std::vector<uint64_t> ends = {}) {
  StepInput step;
  step.step = 1;
  step.starts = std::move(starts);
  step.entries = std::move(entries);
  step.ends = std::move(ends);
  return step;
}

const DrawRecord kNone;
DrawRecord Drawn(std::vector<uint32_t> ids, std::vector<uint32_t> drafts = {}) {
  return {DrawRecord::kDrawn, std::move(ids), std::move(drafts)};
}
DrawRecord Drawn(uint32_t id) { return Drawn(std::vector<uint32_t>{id}); }

TEST_CASE("a prompt is computed in chunks, and the last one draws") {
  SequenceTable table(Limits());
  auto work = table.Begin(StepOf({Start(1, 20)}, {{1, 12, {0}}}));
  REQUIRE(work.ok());
  REQUIRE(work->size() == 1);
  CHECK((*work)[0].begin == 0);
  CHECK((*work)[0].end == 12);
  CHECK_FALSE((*work)[0].draws);
  CHECK_FALSE((*work)[0].needs_logits());
  table.Advance((*work)[0], kNone);
  CHECK((*work)[0].sequence->finish == Finish::kRunning);

  work = table.Begin(StepOf({}, {{1, 100, {1}}}));  // at most what is known
  REQUIRE(work.ok());
  CHECK((*work)[0].begin == 12);
  CHECK((*work)[0].end == 20);
  CHECK((*work)[0].draws);
  table.Advance((*work)[0], Drawn(3));
  CHECK((*work)[0].sequence->start.token_ids.back() == 3);

  work = table.Begin(StepOf({}, {{1, 1, {}}}));
  REQUIRE(work.ok());
  CHECK((*work)[0].begin == 20);
  CHECK((*work)[0].end == 21);
}

TEST_CASE("a sequence ends at a stop id, which it keeps") {
  SequenceTable table(Limits());
  SequenceStart start = Start(1, 4);
  start.stop_token_ids = {50, 51};
  auto work = table.Begin(StepOf({start}, {{1, 4, {0}}}));
  table.Advance((*work)[0], Drawn(51));
  CHECK((*work)[0].sequence->finish == Finish::kStop);
  CHECK((*work)[0].sequence->generated() == 1);
  // Later entries are left alone, whatever they ask for.
  work = table.Begin(StepOf({}, {{1, 1, {}}}));
  REQUIRE(work.ok());
  CHECK(work->empty());
}

TEST_CASE("a sequence ends after max_tokens, those it started with included") {
  SequenceTable table(Limits());
  SequenceStart start = Start(1, 6, 3);
  start.prompt_length = 4;  // two are generated already
  auto work = table.Begin(StepOf({start}, {{1, 6, {0}}}));
  CHECK((*work)[0].draws);
  table.Advance((*work)[0], Drawn(1));
  CHECK((*work)[0].sequence->finish == Finish::kLength);
}

TEST_CASE("a sequence that may draw nothing ends when its prompt is computed") {
  SequenceTable table(Limits());
  auto work = table.Begin(StepOf({Start(1, 6, 0)}, {{1, 4, {0}}}));
  table.Advance((*work)[0], kNone);
  CHECK((*work)[0].sequence->finish == Finish::kRunning);
  work = table.Begin(StepOf({}, {{1, 4, {}}}));
  CHECK_FALSE((*work)[0].draws);
  table.Advance((*work)[0], kNone);
  CHECK((*work)[0].sequence->finish == Finish::kLength);
}

TEST_CASE("a sequence ends at the length of the context") {
  SequenceTable table(Limits());
  auto work = table.Begin(StepOf({Start(1, 30)}, {{1, 30, {0, 1}}}));
  for (int drawn = 1; drawn <= 10; ++drawn) {
    CHECK((*work)[0].sequence->finish == Finish::kRunning);
    table.Advance((*work)[0], Drawn(2));
    if (drawn < 10) {
      SequenceStep entry = {1, 1, {}};
      if (drawn == 3) entry.new_blocks = {2};
      work = table.Begin(StepOf({}, {entry}));
      REQUIRE(work.ok());
    }
  }
  CHECK((*work)[0].sequence->known() == 40);
  CHECK((*work)[0].sequence->finish == Finish::kLength);
}

TEST_CASE("a sequence whose logits are no numbers fails alone") {
  SequenceTable table(Limits());
  auto work = table.Begin(StepOf({Start(1, 4), Start(2, 4)}, {{1, 4, {0}}, {2, 4, {1}}}));
  table.Advance((*work)[0], {DrawRecord::kFailed, {}, {}});
  table.Advance((*work)[1], Drawn(9));
  CHECK((*work)[0].sequence->finish == Finish::kFailed);
  CHECK((*work)[1].sequence->finish == Finish::kRunning);
}

TEST_CASE("what was ranked once is a token's alternatives and its candidates") {
  const float no = -std::numeric_limits<float>::infinity();
  SequenceStart start = Start(1, 4);
  start.logprobs = 1;
  start.candidates = 3;
  CHECK(MostRanked(start) == 3);
  Token token;
  token.top = {{8, -1}, {9, -2}, {4, no}};
  ShareRanked(start, &token);
  REQUIRE(token.top.size() == 1);
  CHECK(token.top[0].id == 8);
  REQUIRE(token.candidates.size() == 2);  // not what has no probability at all
  CHECK(token.candidates[1].id == 9);
  start.logprobs = 3;
  start.candidates = 0;
  token.candidates.clear();
  ShareRanked(start, &token);
  CHECK(token.top.size() == 1);
  CHECK(token.candidates.empty());
}

TEST_CASE("prompt logprobs need the rows before every prompt token but the first") {
  SequenceTable table(Limits());
  SequenceStart start = Start(1, 10);
  start.prompt_logprobs = 0;
  auto work = table.Begin(StepOf({start}, {{1, 6, {0}}}));
  CHECK((*work)[0].prompt_rows_end() == 6);
  CHECK((*work)[0].needs_logits());
  table.Advance((*work)[0], kNone);
  work = table.Begin(StepOf({}, {{1, 4, {}}}));
  CHECK((*work)[0].prompt_rows_end() == 9);
  CHECK((*work)[0].draws);
  table.Advance((*work)[0], Drawn(1));
  work = table.Begin(StepOf({}, {{1, 1, {}}}));
  CHECK((*work)[0].prompt_rows_end() == 10);  // none: the prompt is behind
}

TEST_CASE("ends come first, so that a number and its blocks can be used again at once") {
  SequenceTable table(Limits());
  auto work = table.Begin(StepOf({Start(1, 4)}, {{1, 4, {0}}}));
  table.Advance((*work)[0], Drawn(1));
  work = table.Begin(StepOf({Start(1, 5)}, {{1, 5, {0}}}, {1}));
  REQUIRE(work.ok());
  CHECK((*work)[0].begin == 0);
  CHECK(table.size() == 1);
  CHECK(table.Begin(StepOf({}, {}, {1, 99})).ok());  // forgetting what is not known is nothing
  CHECK(table.size() == 0);
}

TEST_CASE("drafts are computed behind the last known token, as many as the step grants") {
  SequenceTable table(Limits());
  auto work = table.Begin(StepOf({Start(1, 14, 20)}, {{1, 14, {0}, 5}}));
  CHECK((*work)[0].draws);
  CHECK((*work)[0].num_drafts == 0);  // nothing is guessed before the first draw
  table.Advance((*work)[0], Drawn({3}, {4, 5, 6, 7}));

  work = table.Begin(StepOf({}, {{1, 1, {}, 1}}));  // a grant for one id alone
  CHECK((*work)[0].num_drafts == 0);
  table.Advance((*work)[0], Drawn({4}, {5, 6, 7}));

  work = table.Begin(StepOf({}, {{1, 1, {}, 5}}));  // slot 15 is the last: no room for a draft
  CHECK((*work)[0].begin == 15);
  CHECK((*work)[0].num_drafts == 0);
  table.Advance((*work)[0], Drawn({5}, {6, 7, 8, 9}));

  work = table.Begin(StepOf({}, {{1, 1, {1}, 3}}));
  CHECK((*work)[0].begin == 16);
  CHECK((*work)[0].end == 17);
  CHECK((*work)[0].num_drafts == 2);
  table.Advance((*work)[0], Drawn({6, 7, 1}, {2}));  // both were right
  const Sequence& sequence = *(*work)[0].sequence;
  CHECK(sequence.known() == 20);
  CHECK(sequence.computed == 19);
  CHECK(sequence.drafts == std::vector<uint32_t>{2});

  work = table.Begin(StepOf({}, {{1, 1, {}, 5}}));
  CHECK((*work)[0].begin == 19);
  CHECK((*work)[0].num_drafts == 1);
  table.Advance((*work)[0], Drawn({9}));  // it was wrong
  CHECK(sequence.known() == 21);
  CHECK(sequence.computed == 20);
}

TEST_CASE("drafts reach no further than max_tokens and the context") {
  SequenceTable table(Limits());
  auto work = table.Begin(StepOf({Start(1, 4, 3)}, {{1, 4, {0}, 9}}));
  table.Advance((*work)[0], Drawn({3}, {4, 5, 6, 7}));
  work = table.Begin(StepOf({}, {{1, 1, {}, 9}}));
  CHECK((*work)[0].num_drafts == 1);  // two tokens are left
  table.Advance((*work)[0], Drawn({4, 5}));
  CHECK((*work)[0].sequence->finish == Finish::kLength);

  work = table.Begin(StepOf({Start(2, 31, 100)}, {{2, 31, {1, 2, 3}, 9}}));
  table.Advance((*work)[0], Drawn({3}, {4, 5, 6, 7, 8, 9, 10, 11}));
  work = table.Begin(StepOf({}, {{2, 1, {}, 9}}));
  CHECK((*work)[0].num_drafts == 7);  // 40 - 32 may be drawn
}

TEST_CASE("drafts count in the budget of a step") {
  SequenceTable table(Limits());
  auto work = table.Begin(StepOf({Start(1, 4, 20), Start(2, 30)}, {{1, 4, {0}}, {2, 1, {1, 2}}}));
  table.Advance((*work)[0], Drawn({3}, {4, 5, 6, 7, 8, 9, 10, 11}));
  table.Advance((*work)[1], kNone);
  const auto over = table.Begin(StepOf({}, {{1, 1, {}, 9}, {2, 24, {}}}));  // 9 + 24
  CHECK(absl::IsInternal(over.status()));
  CHECK(table.Begin(StepOf({}, {{1, 1, {}, 9}, {2, 23, {}}})).ok());
}

TEST_CASE("copies are refused that leave the blocks or the slots") {
  SequenceLimits limits = Limits();
  limits.num_kv_slots = 2;
  SequenceTable table(limits);
  using Kind = BlockCopy::Kind;
  const auto begin = [&table](const BlockCopy& copy) {
    StepInput step = StepOf({}, {});
    step.copies = {copy};
    return table.Begin(step).status();
  };
  for (const BlockCopy& copy :
       {BlockCopy{0, 7}, BlockCopy{7, 1, Kind::kSpill}, BlockCopy{1, 7, Kind::kFetch}}) {
    CHECK(begin(copy).ok());
  }
  const struct {
    BlockCopy copy;
    const char* message;
  } cases[] = {
      {{0, 8}, "block 0 is copied to 8, but there are 8 blocks and 2 slots"},
      {{8, 0}, "block 8 is copied to 0"},
      {{0, 2, Kind::kSpill}, "block 0 is copied to slot 2"},
      {{8, 0, Kind::kSpill}, "block 8 is copied to slot 0"},
      {{2, 0, Kind::kFetch}, "slot 2 is copied to 0"},
      {{0, 8, Kind::kFetch}, "slot 0 is copied to 8"},
  };
  for (const auto& test : cases) {
    const absl::Status status = begin(test.copy);
    CHECK(absl::IsInternal(status));
    CHECK_THAT(std::string(status.message()), Catch::Contains(test.message));
  }
}

TEST_CASE("a step that the protocol does not allow changes nothing") {
  SequenceTable table(Limits());
  REQUIRE(table.Begin(StepOf({Start(1, 20)}, {})).ok());
  SequenceStart many_logprobs = Start(2, 4);
  many_logprobs.logprobs = 6;
  SequenceStart many_candidates = Start(2, 4);
  many_candidates.candidates = 6;
  SequenceStart foreign_id = Start(2, 4);
  foreign_id.token_ids[2] = 100;
  SequenceStart no_prompt = Start(2, 4);
  no_prompt.prompt_length = 0;
  SequenceStart foreign_bias = Start(2, 4), foreign_word = Start(2, 4), empty_word = Start(2, 4);
  foreign_bias.restrictions.logit_bias = {{100, 1}};
  foreign_word.restrictions.bad_words = {{1, 101}};
  empty_word.restrictions.bad_words = {{}};
  const struct {
    StepInput step;
    const char* message;
  } cases[] = {
      {StepOf({}, {{5, 1, {0}}}), "sequence 5: is not known"},
      {StepOf({}, {{1, 1, {0}}}, {1}), "sequence 1: is not known"},
      {StepOf({Start(1, 4)}, {}), "starts twice"},
      {StepOf({Start(2, 4), Start(2, 4)}, {}), "starts twice"},
      {StepOf({Start(2, 0)}, {}), "starts with 0 tokens"},
      {StepOf({no_prompt}, {}), "a prompt of 0"},
      {StepOf({Start(2, 41)}, {}), "max_model_len is 40"},
      {StepOf({foreign_id}, {}), "token id 100"},
      {StepOf({foreign_bias}, {}), "restricts token id 100"},
      {StepOf({foreign_word}, {}), "restricts token id 101"},
      {StepOf({empty_word}, {}), "a bad word of no tokens"},
      {StepOf({many_logprobs}, {}), "max_logprobs is 5"},
      {StepOf({many_candidates}, {}), "max_logprobs is 5"},
      {StepOf({Start(2, 4), Start(3, 4), Start(4, 4)}, {}), "max_num_seqs is 3"},
      {StepOf({}, {{1, 17, {0}}}), "blocks for 16 tokens are granted, but the step reaches 17"},
      {StepOf({}, {{1, 1, {8}}}), "block 8 is granted, but there are 8"},
      {StepOf({}, {{1, 0, {0}}}), "no tokens"},
      {StepOf({}, {{1, 1, {0}}, {1, 1, {}}}), "two entries"},
      {StepOf({Start(2, 20)}, {{1, 20, {0, 1}}, {2, 20, {2, 3}}}), "max_num_batched_tokens is 32"},
  };
  for (const auto& test : cases) {
    const auto work = table.Begin(test.step);
    REQUIRE(absl::IsInternal(work.status()));
    CHECK_THAT(std::string(work.status().message()), Catch::Contains(test.message));
    CHECK(table.size() == 1);
  }
  const auto work = table.Begin(StepOf({}, {{1, 16, {0}}}));
  REQUIRE(work.ok());
  CHECK((*work)[0].sequence->blocks == std::vector<uint32_t>{0});
}

}  // namespace
}  // namespace tessera::worker
