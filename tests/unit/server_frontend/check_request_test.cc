#include "server/frontend/check_request.h"

#include <catch2/catch.hpp>

#include <functional>
#include <limits>

#include "proto/rpc/status.h"

namespace tessera::server {
namespace {

ServedModel Model() {
  ServedModel model;
  model.name = "demo";
  model.max_model_len = 100;
  model.vocab_size = 50;
  model.max_logprobs = 5;
  model.eos_token_ids = {2, 3};
  model.max_prompt_bytes = 1000;
  return model;
}

struct Case {
  const char* what;
  std::function<void(v1::GenerateRequest&)> spoil;
  absl::StatusCode code;
  const char* field;
};

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kUnimplemented = absl::StatusCode::kUnimplemented;

// A setter of one field of the sampling parameters.
template <typename Value>
std::function<void(v1::GenerateRequest&)> Sampling(void (v1::SamplingParams::*set)(Value),
                                                   Value value) {
  return [set, value](v1::GenerateRequest& request) { (request.mutable_sampling()->*set)(value); };
}

void CheckAll(const std::vector<Case>& cases) {
  for (const Case& bad : cases) {
    INFO(bad.what);
    v1::GenerateRequest request;
    bad.spoil(request);
    absl::Status status = CheckParameters(request, Model()).status();
    INFO(status);
    CHECK(status.code() == bad.code);
    CHECK(rpc::FieldViolation(status) == bad.field);
  }
}

TEST_CASE("sampling parameters out of their range are refused by name") {
  using S = v1::SamplingParams;
  CheckAll({
      {"temperature -1", Sampling(&S::set_temperature, -1.0f), kInvalid, "sampling.temperature"},
      {"temperature NaN", Sampling(&S::set_temperature, kNan), kInvalid, "sampling.temperature"},
      {"temperature inf", Sampling(&S::set_temperature, kInf), kInvalid, "sampling.temperature"},
      {"top_p 0", Sampling(&S::set_top_p, 0.0f), kInvalid, "sampling.top_p"},
      {"top_p 1.1", Sampling(&S::set_top_p, 1.1f), kInvalid, "sampling.top_p"},
      {"top_p NaN", Sampling(&S::set_top_p, kNan), kInvalid, "sampling.top_p"},
      {"top_k -2", Sampling(&S::set_top_k, -2), kInvalid, "sampling.top_k"},
      {"min_p -0.1", Sampling(&S::set_min_p, -0.1f), kInvalid, "sampling.min_p"},
      {"min_p 2", Sampling(&S::set_min_p, 2.0f), kInvalid, "sampling.min_p"},
      {"typical_p 0", Sampling(&S::set_typical_p, 0.0f), kInvalid, "sampling.typical_p"},
      {"repetition_penalty 0", Sampling(&S::set_repetition_penalty, 0.0f), kInvalid,
       "sampling.repetition_penalty"},
      {"presence_penalty 3", Sampling(&S::set_presence_penalty, 3.0f), kInvalid,
       "sampling.presence_penalty"},
      {"frequency_penalty -inf", Sampling(&S::set_frequency_penalty, -kInf), kInvalid,
       "sampling.frequency_penalty"},
      {"logit_bias 101", [](auto& r) { (*r.mutable_sampling()->mutable_logit_bias())[1] = 101; },
       kInvalid, "sampling.logit_bias"},
      {"allowed_token_ids", [](auto& r) { r.mutable_sampling()->add_allowed_token_ids(50); },
       kInvalid, "sampling.allowed_token_ids"},
      {"bad_words", [](auto& r) { r.mutable_sampling()->add_bad_words(" "); }, kInvalid,
       "sampling.bad_words"},
      {"n 0", Sampling(&S::set_n, 0u), kInvalid, "sampling.n"},
  });
}

TEST_CASE("the ends of the ranges are allowed") {
  v1::GenerateRequest request;
  auto* sampling = request.mutable_sampling();
  sampling->set_temperature(0);
  sampling->set_top_p(1);
  sampling->set_top_k(-1);
  sampling->set_min_p(1);
  sampling->set_presence_penalty(-2);
  sampling->set_frequency_penalty(2);
  sampling->set_n(1);
  sampling->set_best_of(1);
  request.mutable_stop()->set_max_tokens(1);
  request.mutable_stop()->set_min_tokens(1);
  request.mutable_output()->set_logprobs(5);
  CHECK(CheckParameters(request, Model()).ok());
}

TEST_CASE("features that are not there are refused by name, not ignored") {
  CheckAll({
      {"tenant", [](auto& r) { r.set_tenant(std::string(257, 'x')); }, kInvalid, "tenant"},
      {"priority", [](auto& r) { r.set_priority(-101); }, kInvalid, "priority"},
      {"priority", [](auto& r) { r.set_priority(INT32_MIN); }, kInvalid, "priority"},
  });
}

TEST_CASE("stop conditions and outputs out of bounds are refused by name") {
  CheckAll({
      {"max_tokens 0", [](auto& r) { r.mutable_stop()->set_max_tokens(0); }, kInvalid,
       "stop.max_tokens"},
      {"min_tokens above max_tokens",
       [](auto& r) {
         r.mutable_stop()->set_max_tokens(3);
         r.mutable_stop()->set_min_tokens(4);
       },
       kInvalid, "stop.min_tokens"},
      {"empty stop string", [](auto& r) { r.mutable_stop()->add_strings(""); }, kInvalid,
       "stop.strings"},
      {"long stop string", [](auto& r) { r.mutable_stop()->add_strings(std::string(1025, 'x')); },
       kInvalid, "stop.strings"},
      {"many stop strings",
       [](auto& r) {
         for (int i = 0; i < 65; ++i) r.mutable_stop()->add_strings("x");
       },
       kInvalid, "stop.strings"},
      {"stop id beyond the vocabulary", [](auto& r) { r.mutable_stop()->add_token_ids(50); },
       kInvalid, "stop.token_ids"},
      {"logprobs", [](auto& r) { r.mutable_output()->set_logprobs(6); }, kInvalid,
       "output.logprobs"},
      {"prompt_logprobs", [](auto& r) { r.mutable_output()->set_prompt_logprobs(6); }, kInvalid,
       "output.prompt_logprobs"},
      {"long request_id", [](auto& r) { r.set_request_id(std::string(257, 'x')); }, kInvalid,
       "request_id"},
      {"continue_from beyond the vocabulary",
       [](auto& r) { r.mutable_continue_from()->add_ids(50); }, kInvalid, "continue_from"},
  });
}

TEST_CASE("several answers are asked for in numbers that go together") {
  using S = v1::SamplingParams;
  const auto beams = [](auto more) {
    return [more](v1::GenerateRequest& r) {
      r.mutable_sampling()->set_beam_width(4);
      more(r);
    };
  };
  CheckAll({
      {"n 129", Sampling(&S::set_n, 129u), kInvalid, "sampling.n"},
      {"best_of below n",
       [](auto& r) {
         r.mutable_sampling()->set_n(3);
         r.mutable_sampling()->set_best_of(2);
       },
       kInvalid, "sampling.best_of"},
      {"length_penalty alone", Sampling(&S::set_length_penalty, 1.0f), kInvalid,
       "sampling.length_penalty"},
      {"beam_width 0", Sampling(&S::set_beam_width, 0u), kInvalid, "sampling.beam_width"},
      {"beam_width 65", Sampling(&S::set_beam_width, 65u), kInvalid, "sampling.beam_width"},
      {"n above beam_width", beams([](auto& r) { r.mutable_sampling()->set_n(5); }), kInvalid,
       "sampling.beam_width"},
      {"length_penalty NaN", beams([](auto& r) { r.mutable_sampling()->set_length_penalty(kNan); }),
       kInvalid, "sampling.length_penalty"},
      {"beams with temperature", beams([](auto& r) { r.mutable_sampling()->set_temperature(1); }),
       kInvalid, "sampling.temperature"},
      {"beams with a penalty",
       beams([](auto& r) { r.mutable_sampling()->set_presence_penalty(1); }), kInvalid,
       "sampling.presence_penalty"},
      {"beams with stop strings", beams([](auto& r) { r.mutable_stop()->add_strings("x"); }),
       kInvalid, "stop.strings"},
      {"beams of no tokens", beams([](auto& r) {
         r.mutable_stop()->set_max_tokens(0);
         r.mutable_output()->set_echo(true);
       }),
       kInvalid, "stop.max_tokens"},
      {"continue_from of several",
       [](auto& r) {
         r.mutable_sampling()->set_n(2);
         r.mutable_continue_from()->add_ids(1);
       },
       kInvalid, "continue_from"},
      {"continue_from of beams", beams([](auto& r) { r.mutable_continue_from()->add_ids(1); }),
       kInvalid, "continue_from"},
  });
  v1::GenerateRequest request;
  request.mutable_sampling()->set_n(2);
  CHECK(CheckParameters(request, Model())->best_of == 2);
  request.mutable_sampling()->set_best_of(5);
  CHECK(CheckParameters(request, Model())->best_of == 5);
  request.mutable_sampling()->clear_best_of();
  request.mutable_sampling()->set_beam_width(3);
  request.mutable_sampling()->set_temperature(0);
  auto beam = CheckParameters(request, Model());
  REQUIRE(beam.ok());
  CHECK(beam->beam_width == 3u);
  CHECK(beam->n == 2);
  CHECK(beam->length_penalty == 1.0f);
  request.mutable_sampling()->add_allowed_token_ids(7);
  request.mutable_sampling()->add_bad_words("x");
  (*request.mutable_sampling()->mutable_logit_bias())[7] = 2;
  beam = CheckParameters(request, Model());
  REQUIRE(beam.ok());
  CHECK(beam->sampling.allowed_token_ids == std::vector<uint32_t>{7});
  REQUIRE(beam->sampling.logit_bias.size() == 1);
  CHECK(beam->sampling.logit_bias[0].bias == 2);
}

TEST_CASE("echo needs no answer, and asks for as many logprobs of the prompt as of the answer") {
  v1::GenerateRequest request;
  request.mutable_output()->set_echo(true);
  CHECK_FALSE(CheckParameters(request, Model())->prompt_logprobs.has_value());
  CHECK(CheckParameters(request, Model())->echo);
  request.mutable_stop()->set_max_tokens(0);
  CHECK(CheckParameters(request, Model())->max_tokens == 0u);
  request.mutable_output()->set_logprobs(3);
  CHECK(CheckParameters(request, Model())->prompt_logprobs == 3u);
  request.mutable_output()->set_prompt_logprobs(4);
  CHECK(CheckParameters(request, Model())->prompt_logprobs == 4u);
  request.mutable_continue_from()->add_ids(1);
  CHECK(rpc::FieldViolation(CheckParameters(request, Model()).status()) == "stop.max_tokens");
  request.mutable_stop()->set_max_tokens(9);  // the echo was sent before what was generated
  request.mutable_output()->clear_prompt_logprobs();
  CHECK_FALSE(CheckParameters(request, Model())->prompt_logprobs.has_value());
  CHECK_FALSE(CheckParameters(request, Model())->echo);
}

TEST_CASE("an unknown model is NOT_FOUND and the message names the one that is served") {
  absl::Status status = CheckModelName("gpt", Model());
  CHECK(absl::IsNotFound(status));
  CHECK(status.message() == "model 'gpt' is not served here; 'demo' is");
  CHECK(CheckModelName("", Model()).ok());
  CHECK(CheckModelName("demo", Model()).ok());
}

TEST_CASE("what a request leaves out is the server's default, or the model's own") {
  auto plain = CheckParameters(v1::GenerateRequest(), Model());
  REQUIRE(plain.ok());
  CHECK(plain->sampling.temperature == 1.0f);
  CHECK(plain->sampling.top_k == 0);
  CHECK(plain->sampling.top_p == 1.0f);
  CHECK(plain->stop_token_ids == std::vector<uint32_t>{2, 3});
  CHECK_FALSE(plain->logprobs.has_value());
  CHECK_FALSE(plain->max_tokens.has_value());

  ServedModel model = Model();
  model.defaults.temperature = 0.6f;
  model.defaults.top_k = 20;
  model.defaults.top_p = 0.9f;
  model.defaults.repetition_penalty = 1.05f;
  v1::GenerateRequest request;
  request.mutable_sampling()->set_top_p(0.5f);
  auto own = CheckParameters(request, model);
  REQUIRE(own.ok());
  CHECK(own->sampling.temperature == 0.6f);
  CHECK(own->sampling.top_k == 20);
  CHECK(own->sampling.top_p == 0.5f);
  CHECK(own->sampling.repetition_penalty == 1.05f);
}

TEST_CASE("stop ids of the request come on top of the model's, unless those are ignored") {
  v1::GenerateRequest request;
  request.mutable_stop()->add_token_ids(9);
  CHECK(CheckParameters(request, Model())->stop_token_ids == std::vector<uint32_t>{9, 2, 3});
  request.mutable_stop()->set_ignore_eos(true);
  CHECK(CheckParameters(request, Model())->stop_token_ids == std::vector<uint32_t>{9});
}

TEST_CASE("a text is refused for its size before anything reads it, and for what is no UTF-8") {
  CHECK(CheckText("text", std::string(1000, 'a'), Model()).ok());
  absl::Status large = CheckText("text", std::string(1001, '\xff'), Model());
  CHECK(absl::IsInvalidArgument(large));
  CHECK(std::string(large.message()).find("1001 bytes") != std::string::npos);
  absl::Status invalid = CheckText("messages[0].content", "ab\xc3", Model());
  CHECK(invalid.message() == "messages[0].content is not UTF-8: byte 2 is wrong");
  CHECK(rpc::FieldViolation(invalid) == "messages[0].content");
}

TEST_CASE("token ids are bound in number and range") {
  CHECK(CheckTokenIds("token_ids", {0, 49}, Model()).ok());
  absl::Status range = CheckTokenIds("token_ids", {0, 50}, Model());
  CHECK(range.message() == "token_ids[1] is 50, but the vocabulary has 50 ids");
  CHECK(
      absl::IsInvalidArgument(CheckTokenIds("token_ids", std::vector<uint32_t>(101, 1), Model())));
}

Request WithPrompt(size_t tokens) {
  Request request;
  request.prompt.assign(tokens, 1);
  return request;
}

TEST_CASE("prompt and answer must fit the context") {
  Request request = WithPrompt(0);
  CHECK(rpc::FieldViolation(FitLength(request, Model())) == "prompt");
  request = WithPrompt(100);
  CHECK(FitLength(request, Model()).message() ==
        "the prompt has 100 tokens, but the context of model 'demo' has 100 for prompt and answer; "
        "shorten it");
  request = WithPrompt(99);
  CHECK(FitLength(request, Model()).ok());
  request.max_tokens = 2;
  CHECK(rpc::FieldViolation(FitLength(request, Model())) == "stop.max_tokens");
  request = WithPrompt(60);
  request.continue_from.assign(41, 1);
  CHECK(rpc::FieldViolation(FitLength(request, Model())) == "continue_from");
}

TEST_CASE("a model's own max_tokens holds where the request has none, within the context") {
  ServedModel model = Model();
  model.defaults.max_tokens = 64;
  Request request = WithPrompt(10);
  REQUIRE(FitLength(request, model).ok());
  CHECK(request.max_tokens == 64u);
  request = WithPrompt(60);
  REQUIRE(FitLength(request, model).ok());
  CHECK(request.max_tokens == 40u);
  request = WithPrompt(10);
  request.max_tokens = 90;
  REQUIRE(FitLength(request, model).ok());
  CHECK(request.max_tokens == 90u);
}

TEST_CASE("a chat's parameters are checked like a completion's") {
  v1::ChatRequest request;
  request.mutable_sampling()->set_temperature(-1);
  CHECK(absl::IsInvalidArgument(CheckParameters(request, Model()).status()));
}

}  // namespace
}  // namespace tessera::server
