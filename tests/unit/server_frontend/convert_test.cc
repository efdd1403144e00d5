#include "server/frontend/convert.h"

#include <catch2/catch.hpp>

#include "tests/support/fixtures.h"

namespace tessera::server {
namespace {

AnswerFormat Format() {
  static const auto tokenizer = Tokenizer::Load(tests::DemoModel());
  REQUIRE(tokenizer.ok());
  AnswerFormat format;
  format.request_id = "r1";
  format.tokenizer = tokenizer->get();
  return format;
}

// The message of an event that has one, or none.
std::optional<v1::GenerateResponse> ToResponse(const ResponseEvent& event,
                                               const AnswerFormat& format) {
  auto responses = ToResponses(event, format);
  REQUIRE(responses.size() <= 1);
  if (responses.empty()) return std::nullopt;
  return responses[0];
}

TEST_CASE("a delta carries what the client asked for") {
  DeltaEvent delta{.text = "a", .tokens = {{.id = 68, .logprob = -0.5f, .top = {{69, -1.0f}}}}};
  AnswerFormat format = Format();
  auto plain = ToResponse(delta, format);
  REQUIRE(plain.has_value());
  CHECK(plain->request_id() == "r1");
  CHECK(plain->delta().text() == "a");
  CHECK(plain->delta().token_ids_size() == 0);
  CHECK(plain->delta().logprobs_size() == 0);
  format.token_ids = true;
  format.logprobs = 1;
  auto full = ToResponse(delta, format);
  CHECK(full->delta().token_ids(0) == 68);
  CHECK(full->delta().logprobs(0).logprob() == -0.5f);
  CHECK(full->delta().logprobs(0).token_bytes() == "a");
  CHECK(full->delta().logprobs(0).top(0).token_bytes() == "b");
  format.logprobs = 0;
  CHECK(ToResponse(delta, format)->delta().logprobs(0).top_size() == 0);
}

TEST_CASE("a delta with nothing for the client is no message") {
  DeltaEvent delta{.text = "", .tokens = {{.id = 131}}};
  AnswerFormat format = Format();
  CHECK_FALSE(ToResponse(delta, format).has_value());
  format.token_ids = true;
  CHECK(ToResponse(delta, format).has_value());
}

TEST_CASE("the first prompt token has no logprob") {
  AnswerFormat format = Format();
  format.prompt_logprobs = 0;
  format.prompt = {0, 68};
  AcceptedEvent accepted{.seed = 5, .numerics_id = "n", .weights_version = "w"};
  accepted.prompt_logprobs = {{.id = 68, .logprob = -2.0f}};
  auto response = ToResponse(accepted, format);
  REQUIRE(response->accepted().prompt_logprobs_size() == 2);
  CHECK_FALSE(response->accepted().prompt_logprobs(0).has_logprob());
  CHECK(response->accepted().prompt_logprobs(1).logprob() == -2.0f);
  CHECK_FALSE(response->accepted().has_prompt_token_ids());
  CHECK(response->accepted().seed() == 5);
}

TEST_CASE("an echo is the prompt's text, with the logprobs of its tokens where answers have them") {
  AnswerFormat format = Format();
  format.echo = "ab";
  AcceptedEvent accepted{.seed = 5, .numerics_id = "n", .weights_version = "w"};
  auto plain = ToResponses(accepted, format);
  REQUIRE(plain.size() == 2);
  CHECK(plain[0].has_accepted());
  CHECK(plain[1].request_id() == "r1");
  CHECK(plain[1].delta().text() == "ab");
  CHECK(plain[1].delta().logprobs_size() == 0);

  format.logprobs = 1;
  format.prompt.assign(600, 68);
  accepted.prompt_logprobs.assign(599, {.id = 68, .logprob = -2, .top = {{69, -1}, {70, -3}}});
  auto pieces = ToResponses(accepted, format);
  REQUIRE(pieces.size() == 3);
  CHECK(pieces[0].accepted().prompt_logprobs_size() == 0);  // not asked for
  CHECK(pieces[1].delta().text() == "ab");
  REQUIRE(pieces[1].delta().logprobs_size() == 512);
  CHECK_FALSE(pieces[1].delta().logprobs(0).has_logprob());
  CHECK(pieces[1].delta().logprobs(1).logprob() == -2.0f);
  CHECK(pieces[1].delta().logprobs(1).top_size() == 1);
  CHECK(pieces[1].delta().token_ids_size() == 0);
  CHECK(pieces[2].delta().text().empty());
  CHECK(pieces[2].delta().logprobs_size() == 88);
}

TEST_CASE("the end tells reason, usage and what stopped it") {
  FinishedEvent finished{.reason = FinishReason::kStop,
                         .prompt_tokens = 3,
                         .completion_tokens = 4,
                         .stop_string = "x",
                         .stop_token_id = std::nullopt};
  auto response = ToResponse(finished, Format());
  CHECK(response->finished().reason() == v1::Finished::STOP);
  CHECK(response->finished().usage().prompt_tokens() == 3);
  CHECK(response->finished().usage().completion_tokens() == 4);
  CHECK(response->finished().stop_string() == "x");
  CHECK_FALSE(response->finished().has_stop_token_id());
}

TEST_CASE("the state of the server is the engine's, with the group's while it starts") {
  EngineCondition condition;
  std::vector<GroupStatus> groups(2);
  CHECK(ToProto(condition, groups) == v1::ServerStatus::STARTING);
  groups[1].state = GroupState::kLoading;
  CHECK(ToProto(condition, groups) == v1::ServerStatus::LOADING);
  condition.state = EngineState::kDraining;
  CHECK(ToProto(condition, groups) == v1::ServerStatus::DRAINING);
}

TEST_CASE("the figures of several replicas are added, and their times are those of all requests") {
  Counters first, second;
  first.running = 3;
  second.running = 4;
  first.kv_slots_total = second.kv_slots_total = 100;
  first.kv_slots_used = 30;
  second.kv_slots_used = 4;
  first.blocks_spilled_total = 50;
  second.blocks_fetched_total = 7;
  second.fetched_tokens_total = 111;
  first.server_ns = 1'000'000'000;
  second.server_ns = 500'000'000;
  first.step_time.Add(absl::Milliseconds(10), 3);
  second.step_time.Add(absl::Milliseconds(90));
  second.output_tokens.Add(absl::FromUnixSeconds(99), 20);
  const v1::EngineFigures both = ToProto({&first, &second}, absl::FromUnixSeconds(100));
  CHECK(both.running() == 7);
  CHECK(both.kv_slots_total() == 200);
  CHECK(both.kv_slots_used() == 34);
  CHECK(both.blocks_spilled_total() == 50);
  CHECK(both.blocks_fetched_total() == 7);
  CHECK(both.fetched_tokens_total() == 111);
  CHECK(both.server_seconds() == 1.5);
  CHECK(both.step_time().count() == 4);
  CHECK(both.step_time().mean() == Approx(0.03));
  CHECK(both.step_time().p50() == Approx(0.01).epsilon(0.07));
  CHECK(both.step_time().max() == Approx(0.09));
  CHECK(both.output_tokens_per_second() == 2);
}

}  // namespace
}  // namespace tessera::server
