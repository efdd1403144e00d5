// The prompt as a part of the answer, with and without logprobs.
#include <catch2/catch.hpp>

#include "tests/integration/server/api.h"
#include "tests/support/fixtures.h"
#include "tests/support/process.h"

namespace tessera::tests {
namespace {

const std::vector<uint32_t> kPrompt = {0, 581, 601, 261, 520};

TEST_CASE("an echo stands before the answer, as text and as logprobs") {
  Server server({"--model", DemoModel().string(), "--tp", "2"});
  Api api(server.target());
  v1::GenerateRequest request = Greedy(kPrompt, 6);
  const Reply plain = api.Generate(request);
  request.mutable_output()->set_echo(true);
  const Reply echoed = api.Generate(request);
  REQUIRE(echoed.status.ok());
  CHECK(echoed.text == "Once upon a time" + plain.text);
  CHECK(echoed.ids == plain.ids);

  request.mutable_output()->set_logprobs(2);
  const Reply scored = api.Generate(request);
  REQUIRE(scored.logprobs.size() == kPrompt.size() + 6);
  CHECK_FALSE(scored.logprobs[0].has_logprob());
  v1::GenerateRequest prompt = Greedy(kPrompt, 6);
  prompt.mutable_output()->set_logprobs(2);
  prompt.mutable_output()->set_prompt_logprobs(2);
  const Reply apart = api.Generate(prompt);
  for (size_t i = 0; i < scored.logprobs.size(); ++i) {
    const v1::TokenLogprobs& expected = i < kPrompt.size()
                                            ? apart.accepted->prompt_logprobs(static_cast<int>(i))
                                            : apart.logprobs[i - kPrompt.size()];
    CHECK(scored.logprobs[i].SerializeAsString() == expected.SerializeAsString());
  }
  CHECK(scored.accepted->prompt_logprobs_size() == 0);

  v1::GenerateRequest text = request;
  text.set_text("Once upon a time");
  CHECK(api.Generate(text).text == scored.text);
}

TEST_CASE("an echo does not read the prefix cache, with or without logprobs") {
  Server server({"--model", DemoModel().string()});
  Api api(server.target());
  v1::GenerateRequest request = Greedy({}, 4);
  for (uint32_t i = 0; i < 50; ++i) request.mutable_token_ids()->add_ids((i * 37 + 5) % 2000);
  const Reply plain = api.Generate(request);
  CHECK(api.Generate(request).finished->usage().cached_tokens() == 48);
  request.mutable_output()->set_echo(true);
  const Reply echoed = api.Generate(request);
  CHECK(echoed.finished->usage().cached_tokens() == 0);
  CHECK(echoed.ids == plain.ids);
  request.mutable_output()->set_logprobs(0);
  CHECK(api.Generate(request).finished->usage().cached_tokens() == 0);
}

TEST_CASE("a prompt is scored alone with max_tokens 0, in whatever chunks it is computed") {
  v1::GenerateRequest request = Greedy({}, 0);
  for (uint32_t i = 0; i < 150; ++i) request.mutable_token_ids()->add_ids((i * 37 + 5) % 2000);
  request.mutable_output()->set_echo(true);
  request.mutable_output()->set_logprobs(1);
  Reply whole, chunked;
  {
    Server server({"--model", DemoModel().string()});
    Api api(server.target());
    whole = api.Generate(request);
    request.mutable_output()->clear_logprobs();
    const Reply text = api.Generate(request);
    CHECK(text.text == whole.text);
    CHECK(text.finished->usage().prompt_tokens() == 150);
    request.mutable_output()->set_logprobs(1);
  }
  Server server(
      {"--model", DemoModel().string(), "--max-num-batched-tokens", "16", "--max-num-seqs", "4"});
  chunked = Api(server.target()).Generate(request);
  INFO(whole.status.error_message());
  REQUIRE(whole.status.ok());
  CHECK(whole.ids.empty());
  CHECK(whole.finished->reason() == v1::Finished::LENGTH);
  CHECK(whole.finished->usage().completion_tokens() == 0);
  REQUIRE(whole.logprobs.size() == 150);
  CHECK(Bits(whole) == Bits(chunked));
}

}  // namespace
}  // namespace tessera::tests
