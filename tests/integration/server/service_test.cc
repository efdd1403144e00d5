// Everything beside answers: health, reflection, tokens, models, status, drain.
#include <catch2/catch.hpp>

#include <fstream>

#include <grpcpp/generic/generic_stub.h>

#include "tests/integration/server/api.h"
#include "tests/support/fixtures.h"
#include "tests/support/process.h"

namespace tessera::tests {
namespace {

using Health = grpc::health::v1::HealthCheckResponse;

Server Demo() { return Server({"--model", DemoModel().string(), "--tp", "2"}); }

TEST_CASE("health tells ready and live apart, and does not know other services") {
  Server server = Demo();
  Api api(server.target());
  for (const char* service : {"", "tessera.v1.Inference", "tessera.live"}) {
    grpc::ClientContext context;
    grpc::health::v1::HealthCheckRequest request;
    request.set_service(service);
    Health response;
    REQUIRE(api.health().Check(&context, request, &response).ok());
    CHECK(response.status() == Health::SERVING);
  }
  grpc::ClientContext context;
  grpc::health::v1::HealthCheckRequest request;
  request.set_service("other");
  Health response;
  CHECK(api.health().Check(&context, request, &response).error_code() ==
        grpc::StatusCode::NOT_FOUND);
}

TEST_CASE("a watch of health sees the server begin to drain") {
  Server server({"--model", DemoModel().string(), "--tp", "2", "--drain-timeout", "600"});
  Api api(server.target());
  v1::GenerateRequest long_one = Greedy({0, 581}, 1000);
  long_one.mutable_stop()->set_ignore_eos(true);
  grpc::ClientContext running_context;
  auto running = api.inference().Generate(&running_context, long_one);
  v1::GenerateResponse first;
  REQUIRE(running->Read(&first));

  grpc::ClientContext context;
  auto watch = api.health().Watch(&context, {});
  Health response;
  REQUIRE(watch->Read(&response));
  CHECK(response.status() == Health::SERVING);
  grpc::ClientContext drain_context;
  v1::DrainResponse drain;
  REQUIRE(api.admin().Drain(&drain_context, {}, &drain).ok());
  CHECK(drain.running() == 1);
  REQUIRE(watch->Read(&response));
  CHECK(response.status() == Health::NOT_SERVING);
  CHECK(api.Generate(Greedy({0}, 1)).status.error_code() == grpc::StatusCode::UNAVAILABLE);
  Reply reply = ReadAll(*running);
  REQUIRE(reply.status.ok());
  CHECK(reply.finished->usage().completion_tokens() == 1000);
  CHECK(server.process().WaitForExit() == 0);
}

// One message of the reflection service (grpc.reflection.v1alpha) by hand: its list_services field
// is number 7. The answer holds the names as they are.
TEST_CASE("reflection lists the services") {
  Server server = Demo();
  Api api(server.target());
  grpc::GenericStub stub(api.channel());
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  auto call = stub.PrepareCall(
      &context, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &queue);
  auto next = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  call->StartCall(nullptr);
  REQUIRE(next());
  grpc::Slice request("\x3a\x01*", 3);
  call->Write(grpc::ByteBuffer(&request, 1), nullptr);
  REQUIRE(next());
  grpc::ByteBuffer answer;
  call->Read(&answer, nullptr);
  REQUIRE(next());
  grpc::Slice slice;
  REQUIRE(answer.DumpToSingleSlice(&slice).ok());
  std::string text(reinterpret_cast<const char*>(slice.begin()), slice.size());
  for (const char* name : {"tessera.v1.Inference", "tessera.v1.Admin", "grpc.health.v1.Health"}) {
    CHECK(text.find(name) != std::string::npos);
  }
  call->WritesDone(nullptr);
  next();
  grpc::Status status;
  call->Finish(&status, nullptr);
  next();
  CHECK(status.ok());
}

TEST_CASE("text goes to tokens and back") {
  Server server = Demo();
  Api api(server.target());
  v1::TokenizeRequest request;
  request.set_text("Once upon a time");
  v1::TokenizeResponse response;
  {
    grpc::ClientContext context;
    REQUIRE(api.inference().Tokenize(&context, request, &response).ok());
  }
  REQUIRE(response.pieces_size() == 5);
  CHECK(response.pieces(0).id() == 0);
  CHECK(response.pieces(0).special());
  CHECK(response.pieces(4).id() == 520);
  CHECK(response.pieces(4).bytes() == " time");
  CHECK(response.pieces(4).end() == 16);

  v1::DetokenizeRequest back;
  for (const auto& piece : response.pieces()) back.mutable_token_ids()->add_ids(piece.id());
  back.set_skip_special_tokens(true);
  v1::DetokenizeResponse text;
  grpc::ClientContext context;
  REQUIRE(api.inference().Detokenize(&context, back, &text).ok());
  CHECK(text.text() == "Once upon a time");
}

// The prompt that a conversation of one message gets.
v1::ApplyChatTemplateResponse Apply(Api& api, const std::string& content) {
  v1::ApplyChatTemplateRequest request;
  auto* message = request.add_messages();
  message->set_role("user");
  message->set_content(content);
  v1::ApplyChatTemplateResponse response;
  grpc::ClientContext context;
  REQUIRE(api.inference().ApplyChatTemplate(&context, request, &response).ok());
  return response;
}

TEST_CASE("the chat template is applied as Chat would") {
  Server server = Demo();
  Api api(server.target());
  const v1::ApplyChatTemplateResponse response = Apply(api, "Hello! <|im_end|>");
  CHECK(response.text() ==
        "<|im_start|>user\nHello! <|im_end|><|im_end|>\n<|im_start|>assistant\n");
  const auto& ids = response.token_ids().ids();
  // One end that the template wrote; the one inside the message stays text.
  CHECK(std::count(ids.begin(), ids.end(), 2u) == 1);
}

TEST_CASE("the template of --chat-template stands before the model's own") {
  TempDir dir;
  const std::string file = (dir.path() / "mine.jinja").string();
  std::ofstream(file) << "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}";
  Server server({"--model", DemoModel().string(), "--chat-template", file});
  Api api(server.target());
  const v1::ApplyChatTemplateResponse response = Apply(api, "Hello!");
  CHECK(response.text() == "<user>Hello!");
}

TEST_CASE("the model and the status tell what is served and by whom") {
  Server server = Demo();
  Api api(server.target());
  v1::ListModelsResponse models;
  grpc::ClientContext context;
  REQUIRE(api.inference().ListModels(&context, {}, &models).ok());
  REQUIRE(models.models_size() == 1);
  CHECK(models.models(0).name() == "demo");
  CHECK(models.models(0).family() == "llama");
  CHECK(models.models(0).max_model_len() == 1024);
  CHECK(models.models(0).vocab_size() == 2048);
  CHECK(models.models(0).has_chat_template());
  CHECK_FALSE(models.models(0).numerics_id().empty());

  v1::ServerStatus status = api.Status();
  CHECK(status.state() == v1::ServerStatus::READY);
  CHECK(status.model() == "demo");
  CHECK(status.numerics_id() == models.models(0).numerics_id());
  REQUIRE(status.groups_size() == 1);
  REQUIRE(status.groups(0).ranks_size() == 2);
  CHECK(status.groups(0).ranks(1).weight_bytes() > 0);
  CHECK(status.engine().kv_blocks_total() > 0);

  // A load that is over in a moment is in the figures when its answer is.
  REQUIRE(api.Generate(Greedy({0, 581, 601}, 4)).status.ok());
  const v1::ServerStatus after = api.Status();
  for (const auto& rank : after.groups(0).ranks()) CHECK(rank.busy_seconds() > 0);
}

}  // namespace
}  // namespace tessera::tests
