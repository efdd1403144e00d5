#include "server/engine/sequence_group.h"

#include <catch2/catch.hpp>

#include "tests/support/demo_tokenizer.h"

namespace tessera::server {
namespace {

using tests::DemoTokenizer;
using Ids = std::vector<uint32_t>;
using Member = SequenceGroup::Member;

// The bundled model's tokenizer: id 68 is "a", 69 "b", ...
Request Prompt(uint32_t n, uint32_t best_of) {
  Request request;
  request.prompt = {0, 90, 91};
  request.max_tokens = 2;
  request.n = n;
  request.best_of = best_of;
  return request;
}

SequenceResult Drawn(uint32_t id, float logprob = -1) {
  SequenceResult result;
  result.tokens.push_back({.id = id, .logprob = logprob, .top = {}, .candidates = {}});
  return result;
}

std::vector<ResponseEvent> Give(SequenceGroup& group, Member& member, SequenceResult result) {
  std::vector<ResponseEvent> events;
  REQUIRE(group.Take(member, result, events).ok());
  return events;
}

std::string TextOf(const ResponseEvent& event) { return std::get<DeltaEvent>(event).text; }
uint32_t IndexOf(const ResponseEvent& event) {
  const auto* delta = std::get_if<DeltaEvent>(&event);
  return delta != nullptr ? delta->index : std::get<FinishedEvent>(event).index;
}

TEST_CASE("the first of several sequences computes the prompt, and the others fork from it") {
  SequenceGroup group(Prompt(3, 3), 100, DemoTokenizer());
  REQUIRE(group.Unplaced().size() == 1);
  Member& first = *group.Unplaced()[0];
  first.id = 7;
  CHECK(group.Settle().forks.empty());
  auto events = Give(group, first, Drawn(68));
  CHECK(IndexOf(events[0]) == 0);
  CHECK(TextOf(events[0]) == "a");
  auto changes = group.Settle();
  REQUIRE(changes.forks.size() == 2);
  CHECK(changes.forks[1].parent == &first);
  CHECK(changes.forks[1].child->index == 2);
  CHECK(changes.forks[1].child->log() == Ids{0, 90, 91});
  SequenceStart start;
  group.Describe(*changes.forks[1].child, start);
  CHECK(start.index == 2);
  CHECK(group.Settle().forks.empty());
}

TEST_CASE("every sequence ends on its own, and the request with the last") {
  SequenceGroup group(Prompt(2, 2), 100, DemoTokenizer());
  Member& first = *group.members()[0];
  Member& second = *group.members()[1];
  Give(group, first, Drawn(68));
  Give(group, first, Drawn(69));
  auto changes = group.Settle();
  REQUIRE(changes.forks.size() == 1);  // before the parent is gone
  REQUIRE(changes.ends.size() == 1);
  CHECK(changes.ends[0].get() == &first);
  REQUIRE(changes.events.size() == 1);
  CHECK(std::get<FinishedEvent>(changes.events[0]).completion_tokens == 2);
  CHECK_FALSE(changes.done);
  CHECK(IndexOf(Give(group, second, Drawn(70))[0]) == 1);
  Give(group, second, Drawn(71));
  changes = group.Settle();
  CHECK(changes.done);
  CHECK(IndexOf(changes.events[0]) == 1);
}

TEST_CASE("the best of several are told when all have ended, the likeliest first") {
  SequenceGroup group(Prompt(2, 3), 100, DemoTokenizer());
  std::vector<Member*> members;
  for (const auto& member : group.members()) members.push_back(member.get());
  const float logprobs[] = {-1, -3, -2};
  for (int round = 0; round < 2; ++round) {
    for (uint32_t i = 0; i < 3; ++i) {
      CHECK(Give(group, *members[i], Drawn(68 + i, logprobs[i])).empty());
    }
  }
  auto changes = group.Settle();
  CHECK(changes.done);
  REQUIRE(changes.events.size() == 4);
  CHECK(TextOf(changes.events[0]) == "aa");
  CHECK(IndexOf(changes.events[1]) == 0);
  CHECK(TextOf(changes.events[2]) == "cc");
  CHECK(IndexOf(changes.events[2]) == 1);
  CHECK(IndexOf(changes.events[3]) == 1);
}

TEST_CASE("the prompt alone is an answer of every sequence at once") {
  Request request = Prompt(3, 3);
  request.max_tokens = 0;
  SequenceGroup group(request, 100, DemoTokenizer());
  auto changes = group.Settle();
  CHECK(changes.done);
  CHECK(changes.events.size() == 3);
  CHECK(changes.forks.empty());
}

TEST_CASE("a worker that ends a sequence too early breaks its contract") {
  SequenceGroup group(Prompt(1, 1), 100, DemoTokenizer());
  SequenceResult result = Drawn(68);
  result.finish = Finish::kLength;
  std::vector<ResponseEvent> events;
  CHECK(absl::IsInternal(group.Take(*group.members()[0], result, events)));
}

Request Beams(uint32_t width, uint32_t n) {
  Request request = Prompt(n, n);
  request.beam_width = width;
  request.max_tokens = 3;
  return request;
}

SequenceResult NothingToDraw() {
  SequenceResult result;
  result.finish = Finish::kFailed;
  result.nothing_to_draw = true;
  return result;
}

SequenceResult Candidates(std::vector<TopToken> top) {
  SequenceResult result;
  result.tokens.push_back(
      {.id = top[0].id, .logprob = top[0].logprob, .top = {}, .candidates = std::move(top)});
  return result;
}

TEST_CASE("beams fork from their parents; one goes on where its token was drawn") {
  SequenceGroup group(Beams(2, 2), 100, DemoTokenizer());
  REQUIRE(group.members().size() == 1);
  Member& root = *group.members()[0];
  SequenceStart start;
  group.Describe(root, start);
  CHECK(start.candidates == 4u);
  CHECK_FALSE(start.logprobs.has_value());
  CHECK(start.sampling.temperature == 0);
  CHECK(start.stop_token_ids.empty());
  Give(group, root, Candidates({{68, -0.5f}, {69, -1.0f}, {70, -2.0f}}));
  auto changes = group.Settle();
  REQUIRE(changes.forks.size() == 1);
  CHECK(changes.forks[0].parent == &root);
  CHECK(changes.forks[0].child->log() == Ids{0, 90, 91, 69});
  CHECK(root.log() == Ids{0, 90, 91, 68});
  CHECK(changes.ends.empty());
  CHECK(group.members()[0].get() == &root);

  // Both of the next are continuations of the second.
  Member& other = *group.members()[1];
  Give(group, root, Candidates({{71, -9.0f}, {72, -9.5f}}));
  Give(group, other, Candidates({{71, -0.1f}, {72, -0.2f}}));
  changes = group.Settle();
  REQUIRE(changes.ends.size() == 1);
  CHECK(changes.ends[0].get() == &root);
  CHECK(other.log() == Ids{0, 90, 91, 69, 71});
  CHECK(changes.forks[0].child->log() == Ids{0, 90, 91, 69, 72});

  Give(group, other, Candidates({{68, -1.0f}, {69, -3.0f}}));
  Give(group, *group.members()[1], Candidates({{70, -0.1f}, {69, -3.0f}}));
  changes = group.Settle();
  CHECK(changes.done);
  REQUIRE(changes.events.size() == 4);
  CHECK(TextOf(changes.events[0]) == "bec");
  CHECK(std::get<FinishedEvent>(changes.events[1]).reason == FinishReason::kLength);
  CHECK(TextOf(changes.events[2]) == "bda");
  CHECK(IndexOf(changes.events[3]) == 1);
}

TEST_CASE("beams that are ahead of their round wait, and make room for the others") {
  SequenceGroup group(Beams(2, 1), 100, DemoTokenizer());
  Give(group, *group.members()[0], Candidates({{68, -0.5f}, {69, -1.0f}}));
  group.Settle();
  Member& ahead = *group.members()[0];
  Give(group, ahead, Candidates({{68, -0.5f}, {69, -1.0f}}));
  auto changes = group.Settle();
  REQUIRE(changes.paused.size() == 1);
  CHECK(changes.paused[0] == &ahead);
  CHECK(ahead.paused);
  CHECK(group.Settle().paused.empty());
  Give(group, *group.members()[1], Candidates({{70, -9.0f}, {71, -9.0f}}));
  changes = group.Settle();
  REQUIRE(changes.paused.size() == 1);
  CHECK_FALSE(ahead.paused);
}

TEST_CASE("a stop id ends a hypothesis and is its last token") {
  Request request = Beams(1, 1);
  request.stop_token_ids = {70};
  SequenceGroup group(request, 100, DemoTokenizer());
  Give(group, *group.members()[0], Candidates({{70, -0.1f}, {68, -5.0f}}));
  auto changes = group.Settle();
  REQUIRE(changes.done);
  CHECK(std::get<DeltaEvent>(changes.events[0]).tokens[0].id == 70);
  CHECK(TextOf(changes.events[0]).empty());
  const auto& finished = std::get<FinishedEvent>(changes.events[1]);
  CHECK(finished.reason == FinishReason::kStop);
  CHECK(finished.stop_token_id == 70u);
}

TEST_CASE("workers are told what beams may not draw and what is favoured, with each beam's log") {
  Request request = Beams(2, 1);
  request.logprobs = 3;
  request.sampling.temperature = 1;
  request.sampling.repetition_penalty = 2;  // defaults of the model, which beams leave out
  request.sampling.logit_bias = {{69, 2.0f}};
  request.sampling.allowed_token_ids = {68, 69, 70};
  request.sampling.bad_words = {{68, 68}};
  SequenceGroup group(request, 100, DemoTokenizer());
  Give(group, *group.members()[0], Candidates({{69, -1.5f}, {68, -0.5f}, {70, -2.0f}}));
  const auto changes = group.Settle();
  REQUIRE(changes.forks.size() == 1);
  // The second: its bias makes 69 the better one.
  CHECK(changes.forks[0].child->log() == Ids{0, 90, 91, 68});
  for (const auto& member : group.members()) {
    SequenceStart start;
    group.Describe(*member, start);
    CHECK(start.token_ids == member->log());
    CHECK(start.prompt_length == 3);
    CHECK(start.logprobs == 3u);
    CHECK(start.candidates == 4u);
    CHECK(start.sampling.temperature == 0);
    CHECK(start.sampling.repetition_penalty == 1);
    CHECK(start.sampling.logit_bias.size() == 1);
    CHECK(start.sampling.allowed_token_ids == Ids{68, 69, 70});
    CHECK(start.sampling.bad_words == std::vector<Ids>{{68, 68}});
  }
}

TEST_CASE("a beam that the request leaves no token ends alone; where all do there is no answer") {
  SequenceGroup group(Beams(2, 2), 100, DemoTokenizer());
  CHECK(group.IsDeadEnd(NothingToDraw()));
  CHECK_FALSE(group.IsDeadEnd(Candidates({{68, -1.0f}})));
  Give(group, *group.members()[0], Candidates({{68, -0.5f}, {69, -1.0f}}));
  group.Settle();
  Member& dead = *group.members()[0];
  Give(group, dead, NothingToDraw());
  Give(group, *group.members()[1], Candidates({{70, -1.0f}}));
  auto changes = group.Settle();
  REQUIRE(changes.ends.size() == 1);
  CHECK(changes.ends[0].get() == &dead);
  REQUIRE(group.members().size() == 1);
  CHECK(group.members()[0]->log() == Ids{0, 90, 91, 69, 70});
  Give(group, *group.members()[0], NothingToDraw());
  changes = group.Settle();
  CHECK(changes.done);
  CHECK(absl::IsInvalidArgument(changes.failure));
  CHECK(changes.events.empty());
}

TEST_CASE("when the workers are lost every member starts anew from its log") {
  SequenceGroup group(Beams(2, 1), 100, DemoTokenizer());
  group.members()[0]->id = 5;
  Give(group, *group.members()[0], Candidates({{68, -0.5f}, {69, -1.0f}}));
  group.Settle();
  group.members()[1]->id = 6;
  Give(group, *group.members()[0], Candidates({{68, -0.5f}, {69, -1.0f}}));
  CHECK(group.Unplaced().empty());
  group.LoseWorkers();
  REQUIRE(group.Unplaced().size() == 2);
  CHECK_FALSE(group.members()[0]->round.has_value());
  CHECK(group.members()[0]->log() == Ids{0, 90, 91, 68});
}

}  // namespace
}  // namespace tessera::server
