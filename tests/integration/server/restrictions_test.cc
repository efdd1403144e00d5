// logit_bias, allowed_token_ids and bad_words over real workers.
#include <catch2/catch.hpp>

#include <algorithm>

#include "proto/rpc/status.h"
#include "tests/integration/server/api.h"
#include "tests/support/fixtures.h"
#include "tests/support/process.h"

namespace tessera::tests {
namespace {

// Answered greedily with ", a strong beekeeper lived in the village. One windy day, ..."
const std::vector<uint32_t> kPrompt = {0, 581, 601, 261, 520};

TEST_CASE("biases, allowed ids and bad words steer what real workers draw") {
  Server server({"--model", DemoModel().string(), "--tp", "2"});
  Api api(server.target());
  const v1::GenerateRequest plain = Greedy(kPrompt, 12);
  const Reply free = api.Generate(plain);
  REQUIRE(free.ids.size() == 12);

  v1::GenerateRequest biased = plain;
  (*biased.mutable_sampling()->mutable_logit_bias())[free.ids[0]] = -100;
  CHECK(api.Generate(biased).ids[0] != free.ids[0]);
  (*biased.mutable_sampling()->mutable_logit_bias())[68] = 100;
  CHECK(api.Generate(biased).ids == std::vector<uint32_t>(12, 68));

  v1::GenerateRequest few = plain;
  for (uint32_t id : {68, 72, 76}) few.mutable_sampling()->add_allowed_token_ids(id);
  const Reply allowed = api.Generate(few);
  REQUIRE(allowed.ids.size() == 12);
  for (uint32_t id : allowed.ids) CHECK((id == 68 || id == 72 || id == 76));

  REQUIRE(free.text.find("beekeeper") != std::string::npos);
  v1::GenerateRequest clean = plain;
  clean.mutable_sampling()->add_bad_words("beekeeper");
  clean.mutable_sampling()->add_bad_words("strong");
  const Reply other = api.Generate(clean);
  REQUIRE(other.status.ok());
  CHECK(other.text.find("beekeeper") == std::string::npos);
  CHECK(other.text.find("strong") == std::string::npos);
}

TEST_CASE("a request whose own words forbid every token ends as its mistake, not as a bug") {
  Server server({"--model", DemoModel().string()});
  Api api(server.target());
  // "aa" as two ids of "a" may not both stand: after the first "a" nothing is left.
  v1::GenerateRequest request = Greedy(kPrompt, 4);
  request.mutable_sampling()->add_allowed_token_ids(68);
  v1::TokenizeRequest tokenize;
  tokenize.set_text("aa");
  v1::TokenizeResponse pieces;
  grpc::ClientContext context;
  REQUIRE(api.inference().Tokenize(&context, tokenize, &pieces).ok());
  REQUIRE(pieces.pieces_size() >= 2);
  REQUIRE(pieces.pieces(pieces.pieces_size() - 1).id() == 68);
  request.mutable_sampling()->add_bad_words("aa");
  const Reply reply = api.Generate(request);
  CHECK(reply.status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(reply.status.error_message().find("no token is left to draw") != std::string::npos);
  CHECK(reply.ids == std::vector<uint32_t>{68});
  CHECK(api.Generate(Greedy(kPrompt, 2)).status.ok());
}

}  // namespace
}  // namespace tessera::tests
