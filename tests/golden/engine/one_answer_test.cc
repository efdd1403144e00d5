// One answer, whatever it shares the engine with: each request alone against batches, chunks,
// cached prefixes, preemption, threads and degrees.
#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/golden/engine/one_answer.h"
#include "tests/golden/engine/walk.h"

namespace tessera::tests {
namespace {

TEST_CASE("a request in a batch of 7 or 32 gets the answer that it gets alone") {
  const auto requests = MixedRequests(32);
  const Served alone = Alone(requests);
  for (size_t batch : {7, 32}) {
    Serving serving;
    serving.at_a_time = batch;
    INFO(serving.ToString());
    CheckSame(alone, Serve(kModel, requests, serving));
  }
}

TEST_CASE("chunks of 16 and of 64 tokens give the answer of a whole prompt") {
  const auto requests = MixedRequests(16);
  const Served alone = Alone(requests);
  for (uint32_t chunk : {16, 64}) {
    Serving serving;
    serving.group.max_num_batched_tokens = chunk;
    serving.group.max_num_seqs = 16;
    INFO(serving.ToString());
    CheckSame(alone, Serve(kModel, requests, serving));
  }
}

TEST_CASE("a prefix that is found, in part or not at all, gives the answer of a whole prompt") {
  for (const char* model : {"llama3_gqa", "mistral", "qwen3"}) {
    const auto requests = Twice(MixedRequests(8));
    const Served alone = Alone(requests, model);
    CHECK(alone.cached_tokens == 0);
    Serving serving;
    serving.at_a_time = 1;
    INFO(model << ": " << serving.ToString());
    const Served cached = Serve(model, requests, serving);
    CHECK(cached.cached_tokens > 100);
    CheckSame(alone, cached);
    serving.at_a_time = 5;
    serving.order_seed = 3;
    CheckSame(alone, Serve(model, requests, serving));
  }
}

TEST_CASE(
    "a prompt that leaves an earlier one inside of a block gets the answer of a whole prompt") {
  server::Request first = MixedRequests(1)[0];
  first.prompt.clear();
  for (uint32_t i = 0; i < 48; ++i) first.prompt.push_back(10 + i * 7 % 200);
  std::vector<server::Request> requests = {first};
  uint64_t shared = 0;  // blocks have 16 tokens: behind the first one every token that is equal
  for (size_t equal = 16; equal < 48; equal += 5) {
    requests.push_back(first);
    requests.back().prompt[equal] = 250;
    shared += equal;
  }
  for (bool coded : {false, true}) {
    Serving serving;
    if (coded) serving.group.kv_dtype = shard_loader::KvFormat::Int8();
    serving.at_a_time = 1;
    serving.prefix_cache = false;
    const Served alone = Serve(kModel, requests, serving);
    serving.prefix_cache = true;
    serving.group.tp = serving.group.pp = 2;
    INFO(serving.ToString());
    const Served cached = Serve(kModel, requests, serving);
    CHECK(cached.cached_tokens == shared);
    CheckSame(alone, cached);
  }
}

TEST_CASE("a request that is preempted again and again gets the same answer") {
  const auto requests = GrowingRequests(16);
  const Served alone = Alone(requests);
  for (bool cache : {false, true}) {
    Serving serving;
    serving.group.num_kv_blocks = 13;
    serving.group.max_model_len = 208;
    serving.prefix_cache = cache;
    INFO(serving.ToString());
    const Served served = Serve(kModel, requests, serving);
    CHECK(served.preemptions > 0);
    CheckSame(alone, served);
  }
}

TEST_CASE("a cache in int8 gives one answer over found prefixes, preemptions and degrees") {
  auto requests = MixedRequests(8);
  for (server::Request& request : requests) {
    request.prompt.resize(std::min<size_t>(request.prompt.size(), 40));
    request.max_tokens = 50;
  }
  requests = Twice(requests);
  Serving serving;
  serving.group.kv_dtype = shard_loader::KvFormat::Int8();
  serving.at_a_time = 1;
  serving.prefix_cache = false;
  const Served alone = Serve(kModel, requests, serving);
  serving.prefix_cache = true;
  const Served cached = Serve(kModel, requests, serving);
  CHECK(cached.cached_tokens > 50);
  CheckSame(alone, cached);
  serving.at_a_time = 1000;
  serving.group.num_kv_blocks = 13;
  serving.group.max_model_len = 208;
  serving.group.tp = 2;
  serving.group.pp = 2;
  INFO(serving.ToString());
  const Served preempted = Serve(kModel, requests, serving);
  CHECK(preempted.preemptions > 0);
  CheckSame(alone, preempted);
}

TEST_CASE("two threads give the answer of one") {
  const auto requests = MixedRequests(8);
  Serving serving;
  serving.group.threads = 2;
  CheckSame(Alone(requests), Serve(kModel, requests, serving));
}

TEST_CASE("every tensor, pipeline and data parallel degree gives the same answers") {
  const auto requests = MixedRequests(12);
  const Served alone = Alone(requests);
  for (int tp : {1, 2}) {
    for (int pp : {1, 2, 4}) {
      for (int dp : {1, 2}) {
        Serving serving;
        serving.group.tp = tp;
        serving.group.pp = pp;
        serving.replicas = dp;
        INFO(serving.ToString());
        CheckSame(alone, Serve(kModel, requests, serving));
      }
    }
  }
}

TEST_CASE("a short random walk over all axes finds one answer") { Walk(20260301, 8); }

}  // namespace
}  // namespace tessera::tests
