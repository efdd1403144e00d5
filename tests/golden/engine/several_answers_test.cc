// One answer with several sequences, beams and guesses: each request alone and without them against
// batches, preemption, the cache and degrees.
#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/golden/engine/one_answer.h"
#include "tests/support/fixtures.h"

namespace tessera::tests {
namespace {

// Some of each kind, so that they bite whatever the model prefers.
void Restrict(server::SamplingParams& sampling) {
  for (uint32_t id = 3; id < 300; ++id) sampling.allowed_token_ids.push_back(id);
  for (uint32_t id = 3; id < 300; id += 10) {
    sampling.logit_bias.push_back({id, id % 20 == 3 ? 2.5f : -1.5f});
  }
  for (uint32_t id = 4; id < 300; ++id) sampling.bad_words.push_back({id, 3 + (id * 7) % 297});
  for (uint32_t id = 5; id < 300; id += 9) sampling.bad_words.push_back({id});
}

// One answer, several, the best of several, and beams, half of these with restrictions.
std::vector<server::Request> SeveralOfEach(size_t count) {
  auto requests = MixedRequests(count);
  for (size_t i = 0; i < count; ++i) {
    server::Request& request = requests[i];
    request.n = 1 + i % 3;
    request.best_of = request.n + (i % 4 == 1 ? 2 : 0);
    if (i % 4 != 2) continue;
    request.beam_width = request.n + 1;
    request.best_of = request.n;
    request.sampling = {};
    if (i % 8 == 6) Restrict(request.sampling);
  }
  return requests;
}

TEST_CASE("the first of several answers is the one of a request alone") {
  auto requests = MixedRequests(8);
  const Served one = Alone(requests);
  for (server::Request& request : requests) request.n = request.best_of = 3;
  const Served three = Alone(requests);
  for (size_t i = 0; i < requests.size(); ++i) {
    INFO("request " << i);
    CHECK(three.answers[i].starts_with(one.answers[i]));
    CHECK(three.answers[i].find("#2 ") != std::string::npos);
  }
}

TEST_CASE("several answers and beams are the same alone, together, preempted and at any degree") {
  const auto requests = SeveralOfEach(16);
  const Served alone = Alone(requests);
  Serving together;
  CheckSame(alone, Serve(kModel, requests, together));
  Serving chunks;
  chunks.group.max_num_batched_tokens = 16;
  chunks.group.max_num_seqs = 8;
  CheckSame(alone, Serve(kModel, requests, chunks));
  for (bool cache : {false, true}) {
    Serving tight;
    tight.group.num_kv_blocks = 40;
    tight.group.max_model_len = 208;
    tight.prefix_cache = cache;
    INFO(tight.ToString());
    const Served served = Serve(kModel, requests, tight);
    CHECK(served.preemptions > 0);
    CheckSame(alone, served);
  }
  for (const auto& [tp, pp] : {std::pair{2, 1}, {1, 2}, {2, 4}}) {
    Serving degrees;
    degrees.group.tp = tp;
    degrees.group.pp = pp;
    INFO(degrees.ToString());
    CheckSame(alone, Serve(kModel, requests, degrees));
  }
}

TEST_CASE("requests that go from one replica to another when groups die get the same answers") {
  const auto requests = SeveralOfEach(24);
  const Served alone = Alone(requests);
  for (int pp : {1, 2}) {
    for (uint32_t guesses : {0, 3}) {
      Serving dying;
      dying.group.pp = pp;
      dying.group.speculation = {.num_tokens = guesses, .ngram_min = 1, .ngram_max = 3};
      dying.replicas = 2;
      dying.at_a_time = 8;
      dying.steps_to_loss = 4;
      INFO(dying.ToString());
      const Served served = Serve(kModel, requests, dying);
      CHECK(served.losses >= 3);
      CHECK(served.moves >= 8);
      CheckSame(alone, served);
    }
  }
}

TEST_CASE("guesses from the text change no answer, whatever else is under way") {
  const auto requests = SeveralOfEach(16);
  const Served alone = Alone(requests);
  for (uint32_t tokens : {1, 4, 9}) {
    Serving guessing;
    guessing.group.speculation = {.num_tokens = tokens, .ngram_min = 1, .ngram_max = 3};
    INFO(guessing.ToString());
    CheckSame(alone, Serve(kModel, requests, guessing));
  }
  for (const auto& [tp, pp] : {std::pair{2, 1}, {1, 2}, {2, 4}}) {
    Serving tight;
    tight.group.tp = tp;
    tight.group.pp = pp;
    tight.group.speculation = {.num_tokens = 4, .ngram_min = 1, .ngram_max = 3};
    tight.group.num_kv_blocks = 40;
    tight.group.max_model_len = 208;
    tight.group.max_num_batched_tokens = 40;
    INFO(tight.ToString());
    CheckSame(alone, Serve(kModel, requests, tight));
  }
}

// Guesses of the model itself, with the same random numbers, are all right: so its steps also show
// that its own cache stays in step through forks, copies, found prefixes and preemption.
TEST_CASE("a draft model's guesses change no answer; those of the model itself are right") {
  auto requests = MixedRequests(12);
  for (server::Request& request : requests) request.max_tokens = 40;
  const Served alone = Alone(requests);
  Serving single;
  single.at_a_time = 1;
  single.group.speculation.num_tokens = 4;
  single.group.draft = Fixture("checkpoints/llama3_gqa");
  const Served guessed = Serve(kModel, requests, single);
  CheckSame(alone, guessed);
  INFO(alone.steps << " steps without guesses, " << guessed.steps << " with");
  CHECK(guessed.steps * 3 < alone.steps);

  const auto several = SeveralOfEach(12);
  const Served expected = Alone(several);
  for (int pp : {1, 2}) {
    Serving tight = single;
    tight.at_a_time = 1000;
    tight.group.pp = pp;
    tight.group.num_kv_blocks = 40;
    tight.group.max_model_len = 208;
    INFO(tight.ToString());
    CheckSame(expected, Serve(kModel, several, tight));
  }
}

}  // namespace
}  // namespace tessera::tests
