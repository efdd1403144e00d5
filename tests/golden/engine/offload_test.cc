// One answer with --kv-offload: what comes back from a slot is what was computed, bit for bit, at
// every degree, beside preemption, guesses and losses, and in every format of the cache.
#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/golden/engine/one_answer.h"
#include "tests/support/fixtures.h"

namespace tessera::tests {
namespace {

// A cache of hardly more than one sequence, and room beside it for everything.
Serving Tight(const std::string& folder = "") {
  Serving serving;
  serving.group.num_kv_blocks = 16;
  serving.group.max_model_len = 256;
  serving.group.num_kv_slots = 200;
  serving.group.kv_offload_dir = folder;
  return serving;
}

void CheckFetched(const Served& served) {
  CHECK(served.spilled_blocks > 0);
  CHECK(served.fetched_tokens > 100);
}

TEST_CASE("blocks that are fetched from memory or a file give the answer of a computed prompt") {
  const auto requests = Twice(MixedRequests(12));
  const Served alone = Alone(requests);
  for (const std::string& folder :
       {std::string(), std::filesystem::temp_directory_path().string()}) {
    for (int degree : {1, 2}) {
      for (size_t at_a_time : {1, 6}) {
        Serving serving = Tight(folder);
        serving.group.tp = serving.group.pp = degree;
        serving.at_a_time = at_a_time;
        INFO(serving.ToString());
        const Served served = Serve(kModel, requests, serving);
        CheckFetched(served);
        CheckSame(alone, served);
        serving.group.num_kv_slots = 0;
        const Served without = Serve(kModel, requests, serving);
        CHECK(without.fetched_tokens == 0);
        CHECK(served.cached_tokens > without.cached_tokens);
      }
    }
  }
}

TEST_CASE("fetched blocks of a cache in int8 or 16 bits give the answer of a computed prompt") {
  const auto requests = Twice(MixedRequests(12));
  for (const auto& format :
       {shard_loader::KvFormat::Int8(), shard_loader::KvFormat(shard_loader::DType::kBF16)}) {
    GroupOptions group;
    group.kv_dtype = format;
    const Served alone = Alone(requests, kModel, group);
    Serving serving = Tight();
    serving.group.kv_dtype = format;
    serving.group.tp = 2;
    serving.at_a_time = 3;
    INFO(shard_loader::KvFormatName(format) << ": " << serving.ToString());
    const Served served = Serve(kModel, requests, serving);
    CheckFetched(served);
    CheckSame(alone, served);
  }
}

TEST_CASE("a few slots, which are given up again and again, change no answer") {
  const auto requests = Twice(MixedRequests(12));
  const Served alone = Alone(requests);
  for (uint32_t slots : {1, 5, 12}) {
    Serving serving = Tight();
    serving.group.num_kv_slots = slots;
    serving.order_seed = slots;
    serving.at_a_time = 4;
    INFO(serving.ToString());
    const Served served = Serve(kModel, requests, serving);
    CHECK(served.spilled_blocks > 0);
    CheckSame(alone, served);
  }
}

TEST_CASE("preempted sequences that fetch what they had computed go on with the same answer") {
  const auto requests = GrowingRequests(16);
  const Served alone = Alone(requests);
  Serving serving = Tight();
  serving.group.num_kv_blocks = 13;
  serving.group.max_model_len = 208;
  for (int pp : {1, 2}) {
    serving.group.pp = pp;
    INFO(serving.ToString());
    const Served served = Serve(kModel, requests, serving);
    CHECK(served.preemptions > 0);
    CheckFetched(served);
    CheckSame(alone, served);
  }
}

// A draft's cache has no slots. Guesses of the model itself are all right, so the steps also show
// that it computes a fetched block's part again.
TEST_CASE("guesses stay right over fetched blocks, and change no answer") {
  auto requests = Twice(MixedRequests(12));
  for (server::Request& request : requests) request.max_tokens = 40;
  const Served alone = Alone(requests);
  Serving drafted = Tight();
  drafted.at_a_time = 1;
  drafted.group.speculation.num_tokens = 4;
  drafted.group.draft = Fixture("checkpoints/llama3_gqa");
  const Served guessed = Serve(kModel, requests, drafted);
  CheckFetched(guessed);
  CheckSame(alone, guessed);
  INFO(alone.steps << " steps without guesses, " << guessed.steps << " with");
  CHECK(guessed.steps * 3 < alone.steps);

  drafted.at_a_time = 5;
  drafted.group.tp = drafted.group.pp = 2;
  const Served together = Serve(kModel, requests, drafted);
  CheckFetched(together);
  CheckSame(alone, together);
  Serving from_text = Tight();
  from_text.group.speculation = {.num_tokens = 4, .ngram_min = 1, .ngram_max = 3};
  from_text.at_a_time = 5;
  CheckSame(alone, Serve(kModel, requests, from_text));
}

TEST_CASE("groups that die with their slots, or leave requests to others, change no answer") {
  const auto requests = Twice(MixedRequests(24));
  const Served alone = Alone(requests);
  for (int replicas : {1, 2}) {
    Serving dying = Tight();
    dying.replicas = replicas;
    dying.at_a_time = 2;
    dying.steps_to_loss = 100;
    INFO(dying.ToString());
    const Served served = Serve(kModel, requests, dying);
    CHECK(served.losses >= 2);
    CHECK(served.spilled_blocks > 0);
    CHECK(served.fetched_tokens > 0);
    CheckSame(alone, served);
  }
}

}  // namespace
}  // namespace tessera::tests
