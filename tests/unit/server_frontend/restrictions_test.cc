#include "server/frontend/restrictions.h"

#include <catch2/catch.hpp>

#include <limits>

#include "proto/rpc/status.h"
#include "tests/support/demo_tokenizer.h"

namespace tessera::server {
namespace {

using tests::DemoTokenizer;  // its id 68 is "a", 69 "b", ..., 93 "z"
using Ids = std::vector<uint32_t>;

ServedModel Model(uint32_t vocab_size = 2048) {
  ServedModel model;
  model.vocab_size = vocab_size;
  model.max_model_len = 1024;
  return model;
}

Ids Encoded(const std::string& text) {
  return *DemoTokenizer().EncodeIds(text, EncodeOptions{.add_special_tokens = false});
}

absl::Status Bounds(const v1::SamplingParams& in, uint32_t vocab_size = 50) {
  SamplingParams out;
  return ResolveRestrictions(in, Model(vocab_size), out);
}

TEST_CASE("biases and allowed ids come sorted, and each id once") {
  v1::SamplingParams in;
  (*in.mutable_logit_bias())[9] = -100;
  (*in.mutable_logit_bias())[3] = 1.5f;
  for (uint32_t id : {7, 2, 7}) in.add_allowed_token_ids(id);
  SamplingParams out;
  REQUIRE(ResolveRestrictions(in, Model(), out).ok());
  REQUIRE(out.logit_bias.size() == 2);
  CHECK(out.logit_bias[0].id == 3);
  CHECK(out.logit_bias[0].bias == 1.5f);
  CHECK(out.logit_bias[1].id == 9);
  CHECK(out.allowed_token_ids == Ids{2, 7});
}

TEST_CASE("what lies outside of vocabulary and range is refused by name") {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  for (auto [id, bias] : {std::pair<uint32_t, float>{50, 1}, {1, 100.5f}, {1, -101}, {1, kNan}}) {
    v1::SamplingParams in;
    (*in.mutable_logit_bias())[id] = bias;
    absl::Status status = Bounds(in);
    INFO(status);
    CHECK(absl::IsInvalidArgument(status));
    CHECK(rpc::FieldViolation(status) == "sampling.logit_bias");
  }
  v1::SamplingParams allowed;
  allowed.add_allowed_token_ids(50);
  CHECK(Bounds(allowed).message() ==
        "sampling.allowed_token_ids names id 50, but the vocabulary has 50 ids");
  for (const std::string& word : {std::string(), std::string(" \t"), std::string(1025, 'x')}) {
    v1::SamplingParams in;
    in.add_bad_words(word);
    CHECK(rpc::FieldViolation(Bounds(in)) == "sampling.bad_words");
  }
  v1::SamplingParams many;
  for (int i = 0; i < 1025; ++i) many.add_bad_words("x");
  CHECK(rpc::FieldViolation(Bounds(many)) == "sampling.bad_words");
}

TEST_CASE("a bad word is taken as it starts a text and as it stands behind a space") {
  v1::SamplingParams in;
  in.add_bad_words("  bee");
  Request request;
  REQUIRE(ResolveBadWords(in, Model(), DemoTokenizer(), request).ok());
  const Ids plain = Encoded("bee"), spaced = Encoded(" bee");
  REQUIRE(plain != spaced);
  CHECK(request.sampling.bad_words == std::vector<Ids>{plain, spaced});
}

TEST_CASE("a bad word whose ids are not the model's is refused") {
  v1::SamplingParams in;
  in.add_bad_words("z");
  Request request;
  CHECK(absl::IsInvalidArgument(ResolveBadWords(in, Model(90), DemoTokenizer(), request)));
}

TEST_CASE("restrictions that leave nothing to draw first are refused") {
  v1::SamplingParams in;
  in.add_bad_words("a");
  Request request;
  request.sampling.allowed_token_ids = {68};
  CHECK(rpc::FieldViolation(ResolveBadWords(in, Model(), DemoTokenizer(), request)) ==
        "sampling.allowed_token_ids");
  request.sampling.bad_words.clear();
  request.sampling.allowed_token_ids = {68, 69};
  CHECK(ResolveBadWords(in, Model(), DemoTokenizer(), request).ok());

  Request stops;
  stops.sampling.allowed_token_ids = {2};
  stops.stop_token_ids = {2};
  CHECK(ResolveBadWords({}, Model(), DemoTokenizer(), stops).ok());
  stops.min_tokens = 1;
  CHECK(absl::IsInvalidArgument(ResolveBadWords({}, Model(), DemoTokenizer(), stops)));
}

}  // namespace
}  // namespace tessera::server
