// The bundled model, served by real processes: the answers of its golden file.
#include <catch2/catch.hpp>

#include "tests/integration/server/api.h"
#include "tests/support/fixtures.h"
#include "tests/support/process.h"

namespace tessera::tests {
namespace {

const nlohmann::json& Golden() {
  static const nlohmann::json golden = ReadJson(DemoModel().parent_path() / "golden.json");
  return golden;
}

Server TwoRanks() {
  return Server({"--model", DemoModel().string(), "--tp", "2", "--dtype", "f32"});
}

TEST_CASE("two ranks give the golden ids, texts and ends of the bundled model") {
  Server server = TwoRanks();
  Api api(server.target());
  for (const auto& item : Golden().at("cases")) {
    INFO(item.at("prompt_ids"));
    Reply reply = api.Generate(Greedy(item.at("prompt_ids"), 64));
    REQUIRE(reply.status.ok());
    CHECK(reply.ids == item.at("output_ids").get<std::vector<uint32_t>>());
    CHECK(reply.text == item.at("output_text").get<std::string>());
    bool stop = item.at("finish") == "stop";
    CHECK(reply.finished->reason() == (stop ? v1::Finished::STOP : v1::Finished::LENGTH));
    CHECK(reply.finished->has_stop_token_id() == stop);
    CHECK(reply.finished->usage().completion_tokens() == item.at("output_ids").size());
  }
  CHECK(server.Stop() == 0);
}

TEST_CASE("a text prompt is tokenized and a conversation rendered as the golden file has them") {
  Server server = TwoRanks();
  Api api(server.target());
  for (const auto& item : Golden().at("cases")) {
    Reply reply;
    if (item.contains("messages")) {
      v1::ChatRequest request;
      for (const auto& message : item.at("messages")) {
        auto* out = request.add_messages();
        out->set_role(message.at("role"));
        out->set_content(message.at("content").get<std::string>());
      }
      request.mutable_sampling()->set_temperature(0);
      request.mutable_stop()->set_max_tokens(1);
      request.mutable_output()->set_token_ids(true);
      reply = api.Chat(request);
    } else {
      v1::GenerateRequest request = Greedy({}, 1);
      request.set_text(item.at("prompt").get<std::string>());
      reply = api.Generate(request);
    }
    INFO(reply.status.error_message());
    REQUIRE(reply.status.ok());
    const auto& ids = reply.accepted->prompt_token_ids().ids();
    CHECK(std::vector<uint32_t>(ids.begin(), ids.end()) ==
          item.at("prompt_ids").get<std::vector<uint32_t>>());
  }
}

TEST_CASE("the same seed gives the same text, and Accepted tells a seed that none was given") {
  Server server = TwoRanks();
  Api api(server.target());
  v1::GenerateRequest request = Greedy({0, 581, 601, 261, 520}, 40);
  request.mutable_sampling()->set_temperature(1);
  Reply first = api.Generate(request);
  REQUIRE(first.status.ok());
  request.mutable_sampling()->set_seed(first.accepted->seed());
  CHECK(api.Generate(request).ids == first.ids);
  request.mutable_sampling()->set_seed(first.accepted->seed() + 1);
  CHECK(api.Generate(request).ids != first.ids);
  CHECK_FALSE(first.accepted->numerics_id().empty());
  CHECK_FALSE(first.accepted->weights_version().empty());
}

TEST_CASE("a stream that was cut goes on exactly with continue_from and the seed") {
  Server server = TwoRanks();
  Api api(server.target());
  v1::GenerateRequest request = Greedy({0, 581, 601, 261, 520}, 30);
  request.mutable_sampling()->set_temperature(1);
  request.mutable_sampling()->set_repetition_penalty(1.1f);
  request.mutable_sampling()->set_seed(7);
  request.mutable_stop()->set_ignore_eos(true);
  request.mutable_output()->set_logprobs(3);
  Reply whole = api.Generate(request);
  REQUIRE(whole.ids.size() == 30);
  auto cut = [&](size_t at) {
    v1::GenerateRequest rest = request;
    rest.mutable_continue_from()->mutable_ids()->Assign(whole.ids.begin(), whole.ids.begin() + at);
    return api.Generate(rest);
  };
  for (size_t at : {1, 13, 29}) {
    Reply rest = cut(at);
    REQUIRE(rest.status.ok());
    CHECK(rest.ids == std::vector<uint32_t>(whole.ids.begin() + at, whole.ids.end()));
    CHECK(whole.text.ends_with(rest.text));
    CHECK(rest.finished->usage().completion_tokens() == 30);
  }
  Reply nothing_left = cut(30);
  CHECK(nothing_left.ids.empty());
  CHECK(nothing_left.finished->reason() == v1::Finished::LENGTH);
}

TEST_CASE("logprobs come for every token, of prompt and answer, descending") {
  Server server = TwoRanks();
  Api api(server.target());
  v1::GenerateRequest request = Greedy({0, 581, 601, 261, 520}, 5);
  request.mutable_output()->set_logprobs(4);
  request.mutable_output()->set_prompt_logprobs(2);
  Reply reply = api.Generate(request);
  REQUIRE(reply.status.ok());
  REQUIRE(reply.logprobs.size() == 5);
  for (size_t i = 0; i < 5; ++i) {
    const auto& token = reply.logprobs[i];
    CHECK(token.token_id() == reply.ids[i]);
    REQUIRE(token.top_size() == 4);
    CHECK(token.top(0).token_id() == token.token_id());  // greedy
    CHECK(token.top(0).logprob() == token.logprob());
    CHECK(token.top(0).logprob() >= token.top(3).logprob());
    CHECK_FALSE(token.token_bytes().empty());
  }
  const auto& prompt = reply.accepted->prompt_logprobs();
  REQUIRE(prompt.size() == 5);
  CHECK_FALSE(prompt[0].has_logprob());
  CHECK(prompt[4].token_id() == 520);
  CHECK(prompt[4].has_logprob());
  CHECK(prompt[4].top_size() == 2);
}

TEST_CASE("stop strings, stop ids and min_tokens hold over real workers") {
  Server server = TwoRanks();
  Api api(server.target());
  // ", a strong beekeeper lived in the village. One windy day, ..."
  v1::GenerateRequest request = Greedy({0, 581, 601, 261, 520}, 64);
  request.mutable_stop()->add_strings("keeper lived");
  Reply by_string = api.Generate(request);
  CHECK(by_string.text == ", a strong bee");
  CHECK(by_string.finished->stop_string() == "keeper lived");
  request.mutable_stop()->set_include_stop_string(true);
  CHECK(api.Generate(request).text == ", a strong beekeeper lived");

  v1::GenerateRequest by_id = Greedy({0, 581, 601, 261, 520}, 64);
  by_id.mutable_stop()->add_token_ids(17);  // "."
  Reply sentence = api.Generate(by_id);
  CHECK(sentence.text == ", a strong beekeeper lived in the village");
  CHECK(sentence.finished->stop_token_id() == 17);
  by_id.mutable_stop()->set_min_tokens(20);
  CHECK(api.Generate(by_id).ids.size() > 20);
}

// Debian's libsentencepiece brings a protobuf of its own, which must stay apart from gRPC's.
TEST_CASE("a checkpoint whose only tokenizer is a SentencePiece model is served") {
  TempDir dir;
  for (const char* file : {"config.json", "model.safetensors", "tokenizer.model"}) {
    std::filesystem::copy(Fixture("checkpoints/llama2_mha") / file, dir.path() / file);
  }
  Process process(Program("tessera-server"), {"--model", dir.path().string(), "--grpc-port", "0"});
  auto ready = process.WaitForLine("ready: ");
  if (process.output().find("sanitizer build") != std::string::npos) {
    SkipTest("a sanitizer build cannot load libsentencepiece beside protobuf");
  }
  INFO(process.output());
  REQUIRE(ready.has_value());
  Api api(ready->substr(ready->rfind(' ') + 1));
  v1::GenerateRequest request = Greedy({}, 3);
  request.set_text("Hello world");
  Reply reply = api.Generate(request);
  CHECK(reply.status.ok());
  CHECK(reply.accepted->prompt_token_ids().ids(0) == 1);  // <s>
}

}  // namespace
}  // namespace tessera::tests
