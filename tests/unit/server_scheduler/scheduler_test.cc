#include "server/scheduler/scheduler.h"

#include <catch2/catch.hpp>

#include "tests/unit/server_scheduler/bench.h"

namespace tessera::server {
namespace {

TEST_CASE("an empty scheduler has nothing to do") {
  Bench bench(Options(8, 2, 4));
  CHECK(bench.Next() == "nothing");
}

TEST_CASE("a sequence is prefilled, then generates a token a step") {
  Bench bench(Options(8, 2, 8));
  REQUIRE(bench.Add(1, 5, 20));
  CHECK(bench.Next() == "+1#1 1:5[0,1,]");
  CHECK(bench.scheduler.flights().front().parts[0].draws);
  CHECK(bench.Then() == "1:1[]");
  CHECK(bench.Then() == "1:1[]");
  CHECK(bench.Then() == "1:1[]");
  CHECK(bench.Then() == "1:1[2,]");
}

TEST_CASE("a long prompt goes in chunks of the token budget") {
  Bench bench(Options(4, 2, 8));
  REQUIRE(bench.Add(1, 10, 20));
  CHECK(bench.Next() == "+1#1 1:4[0,]");
  CHECK_FALSE(bench.scheduler.flights().front().parts[0].draws);
  CHECK(bench.Then() == "1:4[1,]");
  CHECK(bench.Then() == "1:2[2,]");
  CHECK(bench.scheduler.flights().front().parts[0].draws);
}

TEST_CASE("running sequences get their token before any prompt gets a chunk") {
  Bench bench(Options(4, 4, 16));
  REQUIRE(bench.Add(1, 10, 20));
  bench.Next();
  bench.Then();
  bench.Report();
  REQUIRE(bench.Add(2, 2, 20));
  REQUIRE(bench.Add(3, 6, 20));
  CHECK(bench.Next() == "+2#1 1:2[2,] 2:2[3,]");
  CHECK(bench.Then() == "+3#1 1:1[] 2:1[] 3:2[4,]");
  CHECK(bench.Then() == "1:1[] 2:1[] 3:2[]");
}

TEST_CASE("several prompts share a step, the earliest first") {
  Bench bench(Options(8, 4, 16));
  for (uint64_t id : {1, 2, 3}) REQUIRE(bench.Add(id, 6, 20));
  CHECK(bench.Next() == "+1#1 +2#1 1:6[0,1,] 2:2[2,]");
  CHECK(bench.Then() == "+3#1 1:1[] 2:4[3,] 3:3[4,]");
}

TEST_CASE("the seats are given in the order of arrival") {
  Bench bench(Options(16, 2, 16));
  for (uint64_t id : {1, 2, 3}) REQUIRE(bench.Add(id, 2, 8));
  CHECK(bench.Next() == "+1#1 +2#1 1:2[0,] 2:2[1,]");
  bench.Report();
  CHECK(bench.scheduler.num_waiting() == 1);
  bench.Remove(1);
  CHECK(bench.Next() == "+3#1 -1 2:1[] 3:2[0,]");
}

TEST_CASE("the oldest waiting sequence holds up smaller ones behind it") {
  Bench bench(Options(32, 4, 4));
  REQUIRE(bench.Add(1, 8, 12));
  bench.Next();
  bench.Report();
  REQUIRE(bench.Add(2, 12, 16));
  REQUIRE(bench.Add(3, 1, 4));
  CHECK(bench.Next() == "1:1[2,]");
  bench.Remove(1);
  bench.Report();
  CHECK(bench.Next() == "+2#1 -1 2:12[2,3,1,]");
}

TEST_CASE("a sequence that can never fit the cache is refused") {
  Bench bench(Options(32, 4, 4));
  CHECK_FALSE(bench.Add(1, 8, 17));
  CHECK(bench.Add(2, 8, 16));
  CHECK(bench.scheduler.num_waiting() == 1);
}

TEST_CASE("preempts the youngest sequence when the cache is full") {
  SchedulerOptions options = Options(16, 4, 5);
  options.prefix_cache = false;
  Bench bench(options);
  for (uint64_t id : {1, 2}) REQUIRE(bench.Add(id, 4, 16));
  CHECK(bench.Next() == "+1#1 +2#1 1:4[0,] 2:4[1,]");
  CHECK(bench.Then() == "1:1[2,] 2:1[3,]");
  for (int i = 0; i < 3; ++i) CHECK(bench.Then() == "1:1[] 2:1[]");
  // The oldest takes the last block, the youngest goes for want of one.
  CHECK(bench.Then() == "-2 1:1[4,]");
  CHECK(bench.scheduler.num_preemptions() == 1);
  bench.Report();
  bench.Remove(1);
  // Its nine known tokens are computed again, under a new admission.
  CHECK(bench.Next() == "+2#2 -1 2:9[0,2,4,]");
}

TEST_CASE("a preempted sequence finds what it had computed, unless it was needed") {
  Bench bench(Options(16, 4, 5));
  for (uint64_t id : {1, 2}) REQUIRE(bench.Add(id, 4, 16));
  bench.Next();
  for (int i = 0; i < 4; ++i) bench.Then();
  CHECK(bench.Then() == "-2 1:1[4,]");
  bench.Report();
  bench.Remove(1);
  CHECK(bench.Next() == "+2#2~8[1,3,] -1 2:1[4,]");
}

TEST_CASE("a prompt's chunk preempts a younger sequence that is already in the step") {
  SchedulerOptions options = Options(2, 2, 8);
  options.block_size = 1;
  options.prefix_cache = false;
  Bench bench(options);
  REQUIRE(bench.Add(1, 5, 8));
  bench.scheduler.SetPaused(1, true);
  REQUIRE(bench.Add(2, 1, 8));
  CHECK(bench.Next() == "+2#1 2:1[0,]");
  bench.scheduler.SetPaused(1, false);
  CHECK(bench.Then() == "+1#1 2:1[1,] 1:1[2,]");
  CHECK(bench.Then() == "2:1[3,] 1:1[4,]");
  CHECK(bench.Then() == "2:1[5,] 1:1[6,]");
  // 2 is granted block 7 first; 1 is older and needs it.
  CHECK(bench.Then() == "-2 1:1[0,]");
}

TEST_CASE("a paused sequence is left out and goes on where it stood") {
  Bench bench(Options(8, 2, 8));
  for (uint64_t id : {1, 2}) REQUIRE(bench.Add(id, 2, 8));
  bench.Next();
  bench.Report();
  bench.scheduler.SetPaused(1, true);
  CHECK(bench.Next() == "2:1[]");
  bench.scheduler.SetPaused(1, false);
  CHECK(bench.Then() == "1:1[] 2:1[]");
}

TEST_CASE("a paused sequence gives up its seat and its blocks to one that waits") {
  Bench bench(Options(8, 1, 8));
  for (uint64_t id : {1, 2}) REQUIRE(bench.Add(id, 2, 8));
  bench.Next();
  bench.Report();
  bench.scheduler.SetPaused(1, true);
  CHECK(bench.Next() == "+2#1 -1 2:2[0,]");
  bench.scheduler.SetPaused(1, false);
  CHECK(bench.Then() == "2:1[]");
}

TEST_CASE("removing a sequence frees its blocks at once, also in the middle of a step") {
  Bench bench(Options(8, 2, 2));
  REQUIRE(bench.Add(1, 8, 8));
  bench.Next();
  CHECK(bench.scheduler.pool().num_available() == 0);
  bench.Remove(1);
  CHECK(bench.scheduler.pool().num_available() == 2);
  bench.Report();
  REQUIRE(bench.Add(2, 2, 8));
  CHECK(bench.Next() == "+2#1 -1 2:2[0,]");
}

// --- the prefix cache ---

TEST_CASE("a prompt that begins like an earlier one finds whole blocks, and computes the rest") {
  Bench bench(Options(32, 4, 8));
  REQUIRE(bench.AddLog(1, {1, 2, 3, 4, 5, 6, 7, 8, 9}, 20));
  CHECK(bench.Next() == "+1#1 1:9[0,1,2,]");
  REQUIRE(bench.AddLog(2, {1, 2, 3, 4, 5, 6, 7, 8, 10}, 20));
  // Before the step is reported nobody may read what it writes.
  CHECK(bench.scheduler.prefix_cache().num_cached() == 0);
  CHECK(bench.Then() == "+2#1~8[0,1,] 1:1[] 2:1[3,]");
}

TEST_CASE("a hit leaves at least one token to compute") {
  Bench bench(Options(32, 4, 8));
  REQUIRE(bench.AddLog(1, {1, 2, 3, 4, 5, 6, 7, 8}, 20));
  bench.Next();
  REQUIRE(bench.AddLog(2, {1, 2, 3, 4, 5, 6, 7, 8}, 20));
  CHECK(bench.Then() == "+2#1~7[0,1,] 1:1[2,] 2:1[]");
}

TEST_CASE("a request that may not read the cache computes everything") {
  Bench bench(Options(32, 4, 8));
  SequenceInfo all;
  all.reads_cache = false;
  REQUIRE(bench.AddLog(1, {1, 2, 3, 4, 5}, 6));
  bench.Next();
  bench.Report();
  bench.Remove(1);
  REQUIRE(bench.AddLog(2, {1, 2, 3, 4, 5, 6, 7, 8, 9}, 20, all));
  CHECK(bench.Next() == "+2#1 -1 2:9[1,2,3,]");
  bench.Report();
  CHECK(bench.scheduler.prefix_cache().num_cached() == 1);  // what is there is not entered twice
}

TEST_CASE("a prompt whose beginning is just being computed waits for it, and holds up nobody") {
  Bench bench(Options(4, 4, 16));
  REQUIRE(bench.AddLog(1, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 20));
  REQUIRE(bench.AddLog(2, {1, 2, 3, 4, 5, 6, 7, 8, 30}, 20));
  REQUIRE(bench.AddLog(3, {1, 2, 40}, 20));
  CHECK(bench.Next() == "+1#1 1:4[0,]");
  CHECK(bench.Then() == "1:4[1,]");
  CHECK(bench.Then() == "+2#1~8[0,1,] +3#1 1:2[2,] 2:1[3,] 3:1[4,]");
}

TEST_CASE("a prompt that leaves another's in the middle of a block copies that") {
  Bench bench(Options(32, 4, 4));
  REQUIRE(bench.AddLog(1, {1, 2, 3, 4, 5, 6, 7, 8}, 8));
  CHECK(bench.Next() == "+1#1 1:8[0,1,]");
  bench.Report();
  bench.Remove(1);
  REQUIRE(bench.AddLog(2, {1, 2, 3, 4, 5, 6, 30, 31}, 8));
  CHECK(bench.Next() == "+2#1~6[0,2,] -1 1>2 2:2[]");
  bench.Report();
  bench.Remove(2);
  // The last token is computed, also where a block has it. Of two that begin alike the younger is
  // taken.
  REQUIRE(bench.AddLog(3, {1, 2, 3, 4, 5, 6, 7}, 7));
  CHECK(bench.Next() == "+3#1~6[0,3,] -2 2>3 3:1[]");
}

TEST_CASE("where there is no block to copy to, the tokens are computed") {
  Bench bench(Options(32, 4, 2));
  REQUIRE(bench.AddLog(1, {1, 2, 3, 4, 5, 6, 7, 8}, 8));
  bench.Next();
  bench.Report();
  bench.Remove(1);
  REQUIRE(bench.AddLog(2, {1, 2, 3, 4, 5, 6, 30, 31}, 8));
  CHECK(bench.Next() == "+2#1~4[0,] -1 2:4[1,]");
}

TEST_CASE("generated tokens enter the cache once they are in the log") {
  Bench bench(Options(32, 4, 8));
  REQUIRE(bench.AddLog(1, {1, 2}, 20));
  bench.Next();
  bench.Then();
  bench.Then();
  bench.Report();
  const std::vector<uint32_t> log = bench.log(1);  // five tokens, of which four are computed
  REQUIRE(log.size() == 5);
  CHECK(bench.scheduler.prefix_cache().num_cached() == 1);
  bench.Remove(1);
  REQUIRE(bench.AddLog(2, log, 20));
  CHECK(bench.Next() == "+2#1~4[0,] -1 2:1[1,]");
}

TEST_CASE("nothing is found from another scope") {
  Bench bench(Options(32, 4, 8));
  SequenceInfo other;
  other.cache_scope = "tenant b";
  REQUIRE(bench.AddLog(1, {1, 2, 3, 4, 5}, 20));
  bench.Next();
  bench.Report();
  REQUIRE(bench.AddLog(2, {1, 2, 3, 4, 5}, 20, other));
  CHECK(bench.Next() == "+2#1 1:1[] 2:5[2,3,]");
}

// --- forks ---

// Three blocks and four slots: sequence 1 has been computed, and 2 needs its second block.
SchedulerOptions WithSlots() {
  SchedulerOptions options = Options(16, 2, 3);
  options.num_kv_slots = 4;
  return options;
}
void ComputeFirst(Bench& bench, const OffloadCosts& costs) {
  bench.scheduler.SetOffloadCosts(costs);
  REQUIRE(bench.AddLog(1, {1, 2, 3, 4, 5, 6, 7, 8}, 12));
  CHECK(bench.Next() == "+1#1 1:8[0,1,]");
  bench.Report();
  bench.Remove(1);
  REQUIRE(bench.Add(2, 8, 12));
}

TEST_CASE("an evicted block is spilled before it is written, and fetched when it is found") {
  Bench bench(WithSlots());
  ComputeFirst(bench, {});
  CHECK(bench.Next() == "+2#1 -1 1>s0 2:8[2,1,]");
  bench.Report();
  bench.Remove(2);
  REQUIRE(bench.AddLog(3, {1, 2, 3, 4, 5, 6, 7, 8}, 12));
  // The block that it is fetched to is spilled itself; one token is left to compute.
  CHECK(bench.Next() == "+3#1~7[0,1,] -2 1>s1 s0>1 3:1[]");
  CHECK(bench.scheduler.num_fetched_tokens() == 3);
  CHECK(bench.scheduler.prefix_cache().num_spilled() == 1);
}

TEST_CASE("what is cheaper to compute is not fetched, and what never pays not spilled") {
  // A fetch saves three tokens here, and up to four elsewhere.
  Bench spilled(WithSlots());
  ComputeFirst(spilled, {.block_seconds = 1, .token_seconds = 0.3});
  CHECK(spilled.Next() == "+2#1 -1 1>s0 2:8[2,1,]");
  spilled.Report();
  spilled.Remove(2);
  REQUIRE(spilled.AddLog(3, {1, 2, 3, 4, 5, 6, 7, 8}, 12));
  CHECK(spilled.Next() == "+3#1~4[0,] -2 1>s1 3:4[1,]");
  CHECK(spilled.scheduler.num_fetched_tokens() == 0);
  Bench lost(WithSlots());
  ComputeFirst(lost, {.block_seconds = 1, .token_seconds = 0.1});
  CHECK(lost.Next() == "+2#1 -1 2:8[2,1,]");
  CHECK(lost.scheduler.prefix_cache().num_spilled() == 0);
}

TEST_CASE("a fork shares whole blocks, and copies the one that both write") {
  Bench bench(Options(32, 4, 8));
  REQUIRE(bench.Add(1, 7, 20));
  CHECK(bench.Next() == "+1#1 1:7[0,1,]");
  // While the step is under way; it computes the prompt's last token itself.
  REQUIRE(bench.Fork(1, 2, 7, 20));
  REQUIRE(bench.Fork(1, 3, 7, 20));
  CHECK(bench.Then() == "+2#1~6[0,2,] +3#1~6[0,3,] 1>2 1>3 1:1[] 2:1[] 3:1[]");
  bench.Report();
  bench.Remove(1);
  bench.Remove(2);
  CHECK(bench.scheduler.pool().num_available() == 6);
  bench.Remove(3);
  CHECK(bench.scheduler.pool().num_available() == 8);
}

TEST_CASE("a fork at a block border copies nothing, and outlives its origin") {
  Bench bench(Options(32, 4, 8));
  REQUIRE(bench.Add(1, 9, 20));
  bench.Next();
  bench.Report();
  REQUIRE(bench.Fork(1, 2, 9, 20));
  bench.Remove(1);
  CHECK(bench.Next() == "+2#1~8[0,1,] -1 2:1[2,]");
}

TEST_CASE("a fork of a sequence that waits computes its own prompt") {
  Bench bench(Options(32, 4, 8));
  REQUIRE(bench.Add(1, 3, 20));
  REQUIRE(bench.Fork(1, 2, 3, 20));
  CHECK(bench.Next() == "+1#1 +2#1 1:3[0,] 2:3[1,]");
}

TEST_CASE("forks come right behind their origin, before others that wait") {
  Bench bench(Options(32, 2, 8));
  REQUIRE(bench.Add(1, 5, 20));
  bench.Next();
  bench.Report();
  REQUIRE(bench.Add(2, 3, 20));
  REQUIRE(bench.Fork(1, 3, 5, 20));
  CHECK(bench.Next() == "+3#1~4[0,] 1:1[] 3:1[2,]");
}

TEST_CASE("forks that wait give up what they share when a running sequence needs it") {
  Bench bench(Options(32, 2, 4));
  REQUIRE(bench.Add(1, 7, 16));
  bench.Next();
  bench.Report();
  REQUIRE(bench.Add(2, 4, 16));
  bench.Next();
  REQUIRE(bench.Fork(1, 3, 7, 16));
  bench.scheduler.SetPaused(3, true);
  bench.Report();
  bench.Remove(1);
  CHECK(bench.scheduler.pool().num_available() == 1);
  CHECK(bench.Next() == "-1 2:1[3,]");
  for (int i = 0; i < 3; ++i) CHECK(bench.Then() == "2:1[]");
  CHECK(bench.Then() == "2:1[1,]");  // what the fork was to copy
  CHECK(bench.scheduler.num_preemptions() == 0);
  bench.Report();
  bench.Remove(2);
  bench.scheduler.SetPaused(3, false);
  CHECK(bench.Next() == "+3#1~4[0,] -2 3:3[1,]");
}

}  // namespace
}  // namespace tessera::server
