#include "server/scheduler/scheduler.h"

#include <catch2/catch.hpp>

#include <string>

namespace tessera::server {
namespace {

// A step in short: "start 1#1 | 1:5[0 1] 2:1[] | end 3".
std::string Show(const std::optional<Step>& step) {
  if (!step) return "nothing";
  std::string text;
  for (const auto& start : step->starts) {
    text += "+" + std::to_string(start.sequence) + "#" + std::to_string(start.admission) + " ";
  }
  for (uint64_t end : step->ends) text += "-" + std::to_string(end) + " ";
  for (const auto& entry : step->entries) {
    text += std::to_string(entry.sequence) + ":" + std::to_string(entry.num_tokens) + "[";
    for (uint32_t block : entry.new_blocks) text += std::to_string(block) + ",";
    text += "] ";
  }
  text.pop_back();
  return text;
}

SchedulerLimits Limits(uint32_t tokens, uint32_t seqs, uint32_t blocks) {
  SchedulerLimits limits;
  limits.max_num_batched_tokens = tokens;
  limits.max_num_seqs = seqs;
  limits.block_size = 4;
  limits.num_blocks = blocks;
  return limits;
}

TEST_CASE("an empty scheduler has nothing to do") {
  Scheduler scheduler(Limits(8, 2, 4));
  CHECK(Show(scheduler.Next()) == "nothing");
}

TEST_CASE("a sequence is prefilled, then generates a token a step") {
  Scheduler scheduler(Limits(8, 2, 8));
  REQUIRE(scheduler.Add(1, 5, 20));
  CHECK(Show(scheduler.Next()) == "+1#1 1:5[0,1,]");
  CHECK(scheduler.Draws(1));
  scheduler.Completed({{1, 1}});
  CHECK(Show(scheduler.Next()) == "1:1[]");
  scheduler.Completed({{1, 1}});
  scheduler.Next();
  scheduler.Completed({{1, 1}});
  CHECK(Show(scheduler.Next()) == "1:1[]");
  scheduler.Completed({{1, 1}});
  CHECK(Show(scheduler.Next()) == "1:1[2,]");
}

TEST_CASE("a long prompt goes in chunks of the token budget") {
  Scheduler scheduler(Limits(4, 2, 8));
  REQUIRE(scheduler.Add(1, 10, 20));
  CHECK(Show(scheduler.Next()) == "+1#1 1:4[0,]");
  CHECK_FALSE(scheduler.Draws(1));
  scheduler.Completed({});
  CHECK(Show(scheduler.Next()) == "1:4[1,]");
  scheduler.Completed({});
  CHECK(Show(scheduler.Next()) == "1:2[2,]");
  CHECK(scheduler.Draws(1));
}

TEST_CASE("running sequences get their token before any prompt gets a chunk") {
  Scheduler scheduler(Limits(4, 4, 16));
  REQUIRE(scheduler.Add(1, 10, 20));
  scheduler.Next();
  scheduler.Completed({});
  scheduler.Next();
  scheduler.Completed({});
  REQUIRE(scheduler.Add(2, 2, 20));
  REQUIRE(scheduler.Add(3, 6, 20));
  CHECK(Show(scheduler.Next()) == "+2#1 1:2[2,] 2:2[3,]");
  scheduler.Completed({{1, 1}, {2, 1}});
  CHECK(Show(scheduler.Next()) == "+3#1 1:1[] 2:1[] 3:2[4,]");
  scheduler.Completed({{1, 1}, {2, 1}});
  CHECK(Show(scheduler.Next()) == "1:1[] 2:1[] 3:2[]");
}

TEST_CASE("the seats are given in the order of arrival") {
  Scheduler scheduler(Limits(16, 2, 16));
  for (uint64_t id : {1, 2, 3}) REQUIRE(scheduler.Add(id, 2, 8));
  CHECK(Show(scheduler.Next()) == "+1#1 +2#1 1:2[0,] 2:2[1,]");
  scheduler.Completed({{1, 1}, {2, 1}});
  CHECK(scheduler.num_waiting() == 1);
  scheduler.Remove(1);
  CHECK(Show(scheduler.Next()) == "+3#1 -1 2:1[] 3:2[0,]");
}

TEST_CASE("the oldest waiting sequence holds up smaller ones behind it") {
  Scheduler scheduler(Limits(32, 4, 4));
  REQUIRE(scheduler.Add(1, 8, 12));
  scheduler.Next();
  scheduler.Completed({{1, 1}});
  REQUIRE(scheduler.Add(2, 12, 16));
  REQUIRE(scheduler.Add(3, 1, 4));
  CHECK(Show(scheduler.Next()) == "1:1[2,]");
  scheduler.Remove(1);
  scheduler.Completed({});
  CHECK(Show(scheduler.Next()) == "+2#1 -1 2:12[0,1,2,]");
}

TEST_CASE("a sequence that can never fit the cache is refused") {
  Scheduler scheduler(Limits(32, 4, 4));
  CHECK_FALSE(scheduler.Add(1, 8, 17));
  CHECK(scheduler.Add(2, 8, 16));
  CHECK(scheduler.num_waiting() == 1);
}

TEST_CASE("preempts the youngest sequence when the cache is full") {
  Scheduler scheduler(Limits(16, 4, 5));
  for (uint64_t id : {1, 2}) REQUIRE(scheduler.Add(id, 4, 16));
  CHECK(Show(scheduler.Next()) == "+1#1 +2#1 1:4[0,] 2:4[1,]");
  scheduler.Completed({{1, 1}, {2, 1}});
  CHECK(Show(scheduler.Next()) == "1:1[2,] 2:1[3,]");
  for (int i = 0; i < 3; ++i) {
    scheduler.Completed({{1, 1}, {2, 1}});
    CHECK(Show(scheduler.Next()) == "1:1[] 2:1[]");
  }
  scheduler.Completed({{1, 1}, {2, 1}});
  // The oldest takes the last block, the youngest goes for want of one.
  CHECK(Show(scheduler.Next()) == "-2 1:1[4,]");
  CHECK(scheduler.num_preemptions() == 1);
  scheduler.Completed({{1, 1}});
  scheduler.Remove(1);
  // Its nine known tokens are computed again, under a new admission.
  CHECK(Show(scheduler.Next()) == "+2#2 -1 2:9[0,2,4,]");
}

TEST_CASE("a prompt's chunk preempts a younger sequence that is already in the step") {
  SchedulerLimits limits = Limits(2, 2, 8);
  limits.block_size = 1;
  Scheduler scheduler(limits);
  REQUIRE(scheduler.Add(1, 5, 8));
  scheduler.SetPaused(1, true);
  REQUIRE(scheduler.Add(2, 1, 8));
  CHECK(Show(scheduler.Next()) == "+2#1 2:1[0,]");
  scheduler.SetPaused(1, false);
  scheduler.Completed({{2, 1}});
  CHECK(Show(scheduler.Next()) == "+1#1 2:1[1,] 1:1[2,]");
  scheduler.Completed({{2, 1}});
  CHECK(Show(scheduler.Next()) == "2:1[3,] 1:1[4,]");
  scheduler.Completed({{2, 1}});
  CHECK(Show(scheduler.Next()) == "2:1[5,] 1:1[6,]");
  scheduler.Completed({{2, 1}});
  // 2 is granted block 7 first; 1 is older and needs it.
  CHECK(Show(scheduler.Next()) == "-2 1:1[0,]");
}

TEST_CASE("a paused sequence is left out and goes on where it stood") {
  Scheduler scheduler(Limits(8, 2, 8));
  for (uint64_t id : {1, 2}) REQUIRE(scheduler.Add(id, 2, 8));
  scheduler.Next();
  scheduler.Completed({{1, 1}, {2, 1}});
  scheduler.SetPaused(1, true);
  CHECK(Show(scheduler.Next()) == "2:1[]");
  scheduler.Completed({{2, 1}});
  scheduler.SetPaused(1, false);
  CHECK(Show(scheduler.Next()) == "1:1[] 2:1[]");
}

TEST_CASE("a paused sequence gives up its seat and its blocks to one that waits") {
  Scheduler scheduler(Limits(8, 1, 8));
  for (uint64_t id : {1, 2}) REQUIRE(scheduler.Add(id, 2, 8));
  scheduler.Next();
  scheduler.Completed({{1, 1}});
  scheduler.SetPaused(1, true);
  CHECK(Show(scheduler.Next()) == "+2#1 -1 2:2[0,]");
  scheduler.Completed({{2, 1}});
  scheduler.SetPaused(1, false);
  CHECK(Show(scheduler.Next()) == "2:1[]");
}

TEST_CASE("removing a sequence frees its blocks at once, also in the middle of a step") {
  Scheduler scheduler(Limits(8, 2, 2));
  REQUIRE(scheduler.Add(1, 8, 8));
  scheduler.Next();
  CHECK(scheduler.pool().num_free() == 0);
  scheduler.Remove(1);
  CHECK(scheduler.pool().num_free() == 2);
  scheduler.Completed({});
  REQUIRE(scheduler.Add(2, 2, 8));
  CHECK(Show(scheduler.Next()) == "+2#1 -1 2:2[0,]");
}

}  // namespace
}  // namespace tessera::server
