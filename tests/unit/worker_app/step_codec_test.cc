#include "worker/app/step_codec.h"

#include <catch2/catch.hpp>

namespace tessera::worker {
namespace {

TEST_CASE("a step is taken with every field") {
  internal::v1::Step message;
  message.set_step(9);
  message.add_ends(4);
  auto* start = message.add_starts();
  start->set_sequence(1);
  start->set_admission(2);
  start->set_index(3);
  start->add_token_ids(10);
  start->add_token_ids(11);
  start->set_prompt_length(1);
  start->set_cached_tokens(1);
  for (uint32_t block : {9, 4}) start->add_blocks(block);
  start->set_max_tokens(20);
  start->set_min_tokens(6);
  start->add_stop_token_ids(2);
  start->set_prompt_logprobs(0);
  start->set_candidates(6);
  auto* sampling = start->mutable_sampling();
  sampling->set_temperature(0.5f);
  sampling->set_top_k(7);
  sampling->set_top_p(0.9f);
  sampling->set_min_p(0.1f);
  sampling->set_typical_p(0.8f);
  sampling->set_repetition_penalty(1.1f);
  sampling->set_presence_penalty(0.2f);
  sampling->set_frequency_penalty(0.3f);
  sampling->set_seed(99);
  auto* entry = message.add_entries();
  entry->set_sequence(1);
  entry->set_num_tokens(2);
  entry->add_new_blocks(8);
  message.add_copies()->set_from(6);
  message.mutable_copies(0)->set_to(7);
  message.add_copies()->set_kind(internal::v1::BlockCopy::SPILL);
  message.add_copies()->set_kind(internal::v1::BlockCopy::FETCH);

  StepInput step = FromProto(message);
  CHECK(step.step == 9);
  CHECK(step.ends == std::vector<uint64_t>{4});
  CHECK(step.copies.at(0).from == 6);
  CHECK(step.copies.at(0).to == 7);
  CHECK(step.copies.at(0).kind == BlockCopy::Kind::kCopy);
  CHECK(step.copies.at(1).kind == BlockCopy::Kind::kSpill);
  CHECK(step.copies.at(2).kind == BlockCopy::Kind::kFetch);
  const SequenceStart& taken = step.starts.at(0);
  CHECK(taken.sequence == 1);
  CHECK(taken.admission == 2);
  CHECK(taken.index == 3);
  CHECK(taken.token_ids == std::vector<uint32_t>{10, 11});
  CHECK(taken.prompt_length == 1);
  CHECK(taken.cached_tokens == 1);
  CHECK(taken.blocks == std::vector<uint32_t>{9, 4});
  CHECK(taken.max_tokens == 20);
  CHECK(taken.min_tokens == 6);
  CHECK(taken.stop_token_ids == std::vector<uint32_t>{2});
  CHECK_FALSE(taken.logprobs);
  CHECK(taken.prompt_logprobs == 0u);
  CHECK(taken.candidates == 6);
  CHECK(taken.sampling.temperature == 0.5f);
  CHECK(taken.sampling.top_k == 7);
  CHECK(taken.sampling.top_p == 0.9f);
  CHECK(taken.sampling.min_p == 0.1f);
  CHECK(taken.sampling.typical_p == 0.8f);
  CHECK(taken.sampling.repetition_penalty == 1.1f);
  CHECK(taken.sampling.presence_penalty == 0.2f);
  CHECK(taken.sampling.frequency_penalty == 0.3f);
  CHECK(taken.sampling.seed == 99);
  CHECK(step.entries.at(0).num_tokens == 2);
  CHECK(step.entries.at(0).new_blocks == std::vector<uint32_t>{8});
}

TEST_CASE("a result is carried with every field") {
  StepOutput output{.step = 3, .ids_hash = 77};
  output.results.push_back(
      {.sequence = 1,
       .admission = 2,
       .tokens =
           {{.id = 7, .logprob = -0.5f, .top = {{8, -0.1f}}, .candidates = {{7, -0.5f}, {9, -2}}}},
       .finish = Finish::kFailed,
       .error = "NaN",
       .prompt_position = 5,
       .prompt_tokens = {{.id = 6}}});
  internal::v1::StepResult message = ToProto(output);
  CHECK(message.step() == 3);
  CHECK(message.ids_hash() == 77);
  REQUIRE(message.results_size() == 1);
  const auto& result = message.results(0);
  CHECK(result.sequence() == 1);
  CHECK(result.admission() == 2);
  CHECK(result.finish() == internal::v1::SequenceResult::FAILED);
  CHECK(result.error() == "NaN");
  CHECK(result.prompt_position() == 5);
  CHECK(result.prompt_tokens(0).id() == 6);
  CHECK(result.tokens(0).id() == 7);
  CHECK(result.tokens(0).logprob() == -0.5f);
  CHECK(result.tokens(0).top(0).id() == 8);
  REQUIRE(result.tokens(0).candidates_size() == 2);
  CHECK(result.tokens(0).candidates(1).id() == 9);
  CHECK(result.tokens(0).candidates(1).logprob() == -2);
}

}  // namespace
}  // namespace tessera::worker
