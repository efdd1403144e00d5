#include "server/executor/step_codec.h"

#include <catch2/catch.hpp>

namespace tessera::server {
namespace {

TEST_CASE("a step is carried with every field") {
  Step step{.step = 9,
            .ends = {4, 5},
            .copies = {{6, 7}, {8, 1, BlockCopy::Kind::kSpill}, {2, 9, BlockCopy::Kind::kFetch}}};
  step.starts.push_back({.sequence = 1,
                         .admission = 2,
                         .index = 3,
                         .token_ids = {10, 11},
                         .prompt_length = 1,
                         .cached_tokens = 1,
                         .blocks = {9, 4},
                         .sampling = {.temperature = 0.5f,
                                      .top_k = 7,
                                      .top_p = 0.9f,
                                      .min_p = 0.1f,
                                      .typical_p = 0.8f,
                                      .repetition_penalty = 1.1f,
                                      .presence_penalty = 0.2f,
                                      .frequency_penalty = 0.3f,
                                      .seed = 99,
                                      .logit_bias = {{4, -1.5f}},
                                      .allowed_token_ids = {4, 5},
                                      .bad_words = {{6}, {7, 8}}},
                         .max_tokens = 20,
                         .min_tokens = 6,
                         .stop_token_ids = {0, 2},
                         .logprobs = 0,
                         .prompt_logprobs = std::nullopt,
                         .candidates = 6});
  step.entries.push_back({.sequence = 1, .num_tokens = 2, .new_blocks = {8, 9}});
  internal::v1::Step message;
  ToProto(step, &message);
  CHECK(message.step() == 9);
  REQUIRE(message.starts_size() == 1);
  const auto& start = message.starts(0);
  CHECK(start.sequence() == 1);
  CHECK(start.admission() == 2);
  CHECK(start.index() == 3);
  CHECK(start.token_ids_size() == 2);
  CHECK(start.prompt_length() == 1);
  CHECK(start.cached_tokens() == 1);
  CHECK(std::vector<uint32_t>(start.blocks().begin(), start.blocks().end()) ==
        std::vector<uint32_t>{9, 4});
  CHECK(start.max_tokens() == 20);
  CHECK(start.min_tokens() == 6);
  CHECK(start.stop_token_ids_size() == 2);
  CHECK(start.has_logprobs());
  CHECK(start.logprobs() == 0);
  CHECK(start.candidates() == 6);
  CHECK_FALSE(start.has_prompt_logprobs());
  const auto& sampling = start.sampling();
  CHECK(sampling.temperature() == 0.5f);
  CHECK(sampling.top_k() == 7);
  CHECK(sampling.top_p() == 0.9f);
  CHECK(sampling.min_p() == 0.1f);
  CHECK(sampling.typical_p() == 0.8f);
  CHECK(sampling.repetition_penalty() == 1.1f);
  CHECK(sampling.presence_penalty() == 0.2f);
  CHECK(sampling.frequency_penalty() == 0.3f);
  CHECK(sampling.seed() == 99);
  CHECK(sampling.logit_bias(0).id() == 4);
  CHECK(sampling.logit_bias(0).bias() == -1.5f);
  CHECK(sampling.allowed_token_ids(1) == 5);
  CHECK(sampling.bad_words(1).ids(1) == 8);
  REQUIRE(message.copies_size() == 3);
  CHECK(message.copies(0).from() == 6);
  CHECK(message.copies(0).to() == 7);
  CHECK(message.copies(0).kind() == internal::v1::BlockCopy::COPY);
  CHECK(message.copies(1).from() == 8);
  CHECK(message.copies(1).to() == 1);
  CHECK(message.copies(1).kind() == internal::v1::BlockCopy::SPILL);
  CHECK(message.copies(2).from() == 2);
  CHECK(message.copies(2).to() == 9);
  CHECK(message.copies(2).kind() == internal::v1::BlockCopy::FETCH);
  REQUIRE(message.entries_size() == 1);
  CHECK(message.entries(0).num_tokens() == 2);
  CHECK(message.entries(0).new_blocks(1) == 9);
  CHECK(message.ends(1) == 5);
}

TEST_CASE("a result is taken with every field") {
  internal::v1::StepResult message;
  message.set_step(3);
  auto* result = message.add_results();
  result->set_sequence(1);
  result->set_admission(2);
  result->set_finish(internal::v1::SequenceResult::LENGTH);
  result->set_prompt_position(5);
  result->add_prompt_tokens()->set_id(6);
  result->set_nothing_to_draw(true);
  auto* token = result->add_tokens();
  token->set_id(7);
  token->set_logprob(-0.5f);
  token->add_top()->set_id(8);
  token->add_candidates()->set_id(9);
  StepResult taken = FromProto(message);
  CHECK(taken.step == 3);
  REQUIRE(taken.results.size() == 1);
  const SequenceResult& one = taken.results[0];
  CHECK(one.sequence == 1);
  CHECK(one.admission == 2);
  CHECK(one.finish == Finish::kLength);
  CHECK(one.prompt_position == 5);
  CHECK(one.nothing_to_draw);
  CHECK(one.prompt_tokens.at(0).id == 6);
  CHECK(one.tokens.at(0).id == 7);
  CHECK(one.tokens.at(0).logprob == -0.5f);
  CHECK(one.tokens.at(0).top.at(0).id == 8);
  REQUIRE(one.tokens.at(0).candidates.size() == 1);
  CHECK(one.tokens.at(0).candidates[0].id == 9);
}

TEST_CASE("an unknown end of a sequence counts as failed") {
  internal::v1::StepResult message;
  message.add_results()->set_finish(static_cast<internal::v1::SequenceResult::Finish>(77));
  CHECK(FromProto(message).results.at(0).finish == Finish::kFailed);
}

}  // namespace
}  // namespace tessera::server
