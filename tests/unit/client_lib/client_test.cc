#include "client/lib/client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include <catch2/catch.hpp>

#include "client/lib/collect.h"
#include "client/lib/error_details.h"
#include "proto/rpc/status.h"
#include "tests/unit/client_lib/fake_server.h"

namespace tessera::client {
namespace {

using tests::AcceptedEvent;
using tests::DeltaEvent;
using tests::FakeServer;
using tests::FinishedEvent;

std::unique_ptr<Client> ConnectTo(const FakeServer& server) {
  auto client = Client::Connect({.target = server.target()});
  REQUIRE(client.ok());
  return *std::move(client);
}

TEST_CASE("hands over every parameter of a completion that was set and no other") {
  FakeServer server;
  auto client = ConnectTo(server);
  GenerateOptions options;
  options.prompt = "once";
  options.request_id = "mine";
  options.continue_from = {4, 5};
  options.sampling.temperature = 0.0f;
  options.sampling.seed = 7;
  options.sampling.logit_bias = {{3, -1.5f}};
  options.stop.max_tokens = 16;
  options.stop.strings = {"\n", "END"};
  options.output.logprobs = 0;

  REQUIRE(Collect(*client->Generate(options)).ok());
  const v1::GenerateRequest& request = server.inference.generate_request;
  CHECK(request.request_id() == "mine");
  CHECK(request.text() == "once");
  CHECK(request.continue_from().ids_size() == 2);
  CHECK(request.sampling().has_temperature());
  CHECK(request.sampling().temperature() == 0.0f);
  CHECK(request.sampling().seed() == 7);
  CHECK(request.sampling().logit_bias().at(3) == -1.5f);
  CHECK_FALSE(request.sampling().has_top_p());
  CHECK(request.stop().max_tokens() == 16);
  CHECK(request.stop().strings_size() == 2);
  CHECK_FALSE(request.stop().has_min_tokens());
  CHECK(request.output().has_logprobs());
  CHECK_FALSE(request.output().has_prompt_logprobs());
}

TEST_CASE("sends a prompt of token ids as ids, also an empty one") {
  FakeServer server;
  auto client = ConnectTo(server);
  GenerateOptions options;
  options.prompt = std::vector<uint32_t>{0, 581, 601};
  REQUIRE(Collect(*client->Generate(options)).ok());
  CHECK(server.inference.generate_request.has_token_ids());
  CHECK(server.inference.generate_request.token_ids().ids(1) == 581);

  options.prompt = std::vector<uint32_t>{};
  REQUIRE(Collect(*client->Generate(options)).ok());
  CHECK(server.inference.generate_request.has_token_ids());
}

TEST_CASE("joins the pieces of a stream in order") {
  FakeServer server;
  server.inference.events = {AcceptedEvent(42, {0, 9}), DeltaEvent("Hel", {1}),
                             DeltaEvent("lo", {2, 3}), FinishedEvent(v1::Finished::LENGTH, 2, 3)};
  auto client = ConnectTo(server);
  auto completion = Collect(*client->Generate({}));
  REQUIRE(completion.ok());
  CHECK(completion->request_id == "r-1");
  CHECK(completion->accepted.seed == 42);
  CHECK(completion->accepted.prompt_token_ids == std::vector<uint32_t>{0, 9});
  REQUIRE(completion->sequences.size() == 1);
  CHECK(completion->sequences[0].text == "Hello");
  CHECK(completion->sequences[0].token_ids == std::vector<uint32_t>{1, 2, 3});
  CHECK(completion->sequences[0].finished.reason == FinishReason::kLength);
  CHECK(completion->sequences[0].finished.usage.completion_tokens == 3);
}

TEST_CASE("reads logprobs with their alternatives and bytes") {
  FakeServer server;
  auto delta = DeltaEvent("a", {5});
  auto* token = delta.mutable_delta()->add_logprobs();
  token->set_token_id(5);
  token->set_logprob(-0.5f);
  token->set_token_bytes("\xe2\x82");
  auto* top = token->add_top();
  top->set_token_id(6);
  top->set_logprob(-1.5f);
  auto accepted = AcceptedEvent(1);
  accepted.mutable_accepted()->add_prompt_logprobs()->set_token_id(9);
  server.inference.events = {accepted, delta};

  auto completion = Collect(*ConnectTo(server)->Generate({}));
  REQUIRE(completion.ok());
  REQUIRE(completion->accepted.prompt_logprobs.size() == 1);
  CHECK_FALSE(completion->accepted.prompt_logprobs[0].logprob.has_value());
  const TokenLogprobs& read = completion->sequences.at(0).logprobs.at(0);
  CHECK(read.logprob == -0.5f);
  CHECK(read.token_bytes == "\xe2\x82");
  CHECK(read.top.at(0).token_id == 6);
  CHECK(read.top.at(0).logprob == -1.5f);
}

TEST_CASE("an error names the field and the time to try again") {
  FakeServer server;
  server.inference.error = absl::InvalidArgumentError("temperature is -1");
  rpc::SetFieldViolation(server.inference.error, "sampling.temperature");
  rpc::SetRetryDelay(server.inference.error, absl::Milliseconds(1500));
  auto completion = Collect(*ConnectTo(server)->Generate({}));
  REQUIRE(absl::IsInvalidArgument(completion.status()));
  CHECK(completion.status().message() == "temperature is -1");
  ErrorDetails details = DetailsOf(completion.status());
  CHECK(details.field == "sampling.temperature");
  CHECK(details.retry_after == absl::Milliseconds(1500));
  CHECK_FALSE(details.unreachable);
}

TEST_CASE("a target where nobody listens fails at once and is marked as unreachable") {
  auto client = Client::Connect({.target = "127.0.0.1:1", .connect_timeout = absl::Seconds(60)});
  REQUIRE(absl::IsUnavailable(client.status()));
  CHECK(DetailsOf(client.status()).unreachable);
}

// Takes one connection and greets late.
class SlowServer {
 public:
  SlowServer() : listener_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    REQUIRE(bind(listener_, reinterpret_cast<sockaddr*>(&address), size) == 0);
    REQUIRE(listen(listener_, 1) == 0);
    REQUIRE(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    target_ = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
    greets_ = std::thread([this] {
      const int connection = accept(listener_, nullptr, nullptr);
      std::this_thread::sleep_for(std::chrono::milliseconds(500));
      // An empty SETTINGS frame (RFC 9113, 6.5).
      const char settings[9] = {0, 0, 0, 4, 0, 0, 0, 0, 0};
      [[maybe_unused]] ssize_t sent = send(connection, settings, sizeof(settings), MSG_NOSIGNAL);
      char byte;
      while (recv(connection, &byte, 1, 0) > 0) continue;  // until the client goes
      close(connection);
    });
  }
  ~SlowServer() {
    shutdown(listener_, SHUT_RDWR);  // where nobody came
    greets_.join();
    close(listener_);
  }
  const std::string& target() const { return target_; }

 private:
  const int listener_;
  std::string target_;
  std::thread greets_;
};

TEST_CASE("a server that is slow to greet is waited for") {
  SlowServer server;
  CHECK(Client::Connect({.target = server.target(), .connect_timeout = absl::Seconds(60)}).ok());
}

TEST_CASE("a server that refuses while it loads is not unreachable") {
  FakeServer server;
  server.inference.error = absl::UnavailableError("loading: 40 %");
  auto completion = Collect(*ConnectTo(server)->Generate({}));
  REQUIRE(absl::IsUnavailable(completion.status()));
  CHECK_FALSE(DetailsOf(completion.status()).unreachable);
}

TEST_CASE("a server that goes away in the middle of a stream is unreachable") {
  auto server = std::make_unique<FakeServer>();
  server->inference.hang = true;
  server->inference.events = {AcceptedEvent(1)};
  auto client = ConnectTo(*server);
  auto stream = client->Generate({});
  REQUIRE(stream->Next().ok());
  server.reset();
  auto end = stream->Next();
  REQUIRE_FALSE(end.ok());
  CHECK(stream->Next().status() == end.status());
  auto next = Collect(*client->Generate({}));
  REQUIRE(absl::IsUnavailable(next.status()));
  CHECK(DetailsOf(next.status()).unreachable);
}

TEST_CASE("Cancel from another thread ends a waiting stream, and the server sees it") {
  FakeServer server;
  server.inference.hang = true;
  auto client = ConnectTo(server);
  auto stream = client->Generate({});
  std::thread canceller([&] {
    server.inference.WaitUntilHanging();
    stream->Cancel();
  });
  auto event = stream->Next();
  canceller.join();
  CHECK(absl::IsCancelled(event.status()));
  CHECK(server.inference.WaitUntilCancelled());
}

TEST_CASE("dropping a stream makes the server drop its request") {
  FakeServer server;
  server.inference.hang = true;
  auto client = ConnectTo(server);
  auto stream = client->Generate({});
  REQUIRE(server.inference.WaitUntilHanging());
  stream.reset();
  CHECK(server.inference.WaitUntilCancelled());
}

TEST_CASE("a stream past its timeout ends in DEADLINE_EXCEEDED") {
  FakeServer server;
  server.inference.hang = true;
  GenerateOptions options;
  options.timeout = absl::Milliseconds(50);
  auto client = ConnectTo(server);
  CHECK(absl::IsDeadlineExceeded(Collect(*client->Generate(options)).status()));
}

TEST_CASE("a chat carries its messages, tools and template variables") {
  FakeServer server;
  ChatOptions options;
  options.conversation.messages = {{.role = "system", .content = "Be brief."},
                                   {.role = "user", .content = "Hi"}};
  options.conversation.messages[1].tool_calls = {{"1", "f", "{}"}};
  options.conversation.tools_json = {"{\"name\":\"f\"}"};
  options.conversation.chat_template_kwargs_json = "{\"x\":1}";
  options.conversation.add_generation_prompt = false;
  REQUIRE(Collect(*ConnectTo(server)->Chat(options)).ok());
  const v1::ChatRequest& request = server.inference.chat_requests.at(0);
  CHECK(request.messages(0).role() == "system");
  CHECK(request.messages(1).content() == "Hi");
  CHECK(request.messages(1).tool_calls(0).name() == "f");
  CHECK(request.tools_json(0) == "{\"name\":\"f\"}");
  CHECK(request.chat_template_kwargs_json() == "{\"x\":1}");
  CHECK(request.has_add_generation_prompt());
  CHECK_FALSE(request.add_generation_prompt());
  CHECK_FALSE(request.has_parse_special_in_content());
}

TEST_CASE("turns text to pieces and ids to text") {
  FakeServer server;
  auto* piece = server.inference.tokenize.add_pieces();
  piece->set_id(17);
  piece->set_bytes(" a");
  piece->set_begin(3);
  piece->set_end(5);
  piece->set_special(true);
  server.inference.detokenize.set_text("back");
  auto client = ConnectTo(server);

  auto pieces = client->Tokenize("x\xff", {.parse_special_tokens = false});
  REQUIRE(pieces.ok());
  CHECK(server.inference.tokenize_request.text() == "x\xff");
  CHECK(server.inference.tokenize_request.has_parse_special_tokens());
  CHECK_FALSE(server.inference.tokenize_request.has_add_special_tokens());
  REQUIRE(pieces->size() == 1);
  CHECK((*pieces)[0].id == 17);
  CHECK((*pieces)[0].bytes == " a");
  CHECK((*pieces)[0].begin == 3);
  CHECK((*pieces)[0].end == 5);
  CHECK((*pieces)[0].special);

  auto text = client->Detokenize({1, 2}, {.skip_special_tokens = true});
  REQUIRE(text.ok());
  CHECK(*text == "back");
  CHECK(server.inference.detokenize_request.token_ids().ids(1) == 2);
}

TEST_CASE("reads the status of groups and ranks, once and as a stream") {
  FakeServer server;
  v1::ServerStatus status;
  status.set_state(v1::ServerStatus::LOADING);
  status.set_model("demo");
  auto* group = status.add_groups();
  group->set_tp(2);
  group->add_ranks()->set_load_fraction(0.5);
  group->add_ranks()->set_load_fraction(1.0);
  server.admin.statuses = {status, status};
  server.admin.statuses[1].set_state(v1::ServerStatus::READY);
  auto client = ConnectTo(server);

  auto read = client->GetStatus();
  REQUIRE(read.ok());
  CHECK(read->state == ServerState::kLoading);
  CHECK(LoadFraction(*read) == 0.75);
  CHECK(read->groups.at(0).tp == 2);

  auto stream = client->WatchStatus(absl::Milliseconds(250));
  CHECK(stream->Next().value()->state == ServerState::kLoading);
  CHECK(stream->Next().value()->state == ServerState::kReady);
  CHECK_FALSE(stream->Next().value().has_value());
  CHECK(server.admin.watch_request.interval_ms() == 250);
}

TEST_CASE("lists models, renders a template, drains and asks for health") {
  FakeServer server;
  server.inference.models.add_models()->set_name("demo");
  server.inference.rendered.set_text("<|im_start|>");
  server.inference.rendered.mutable_token_ids()->add_ids(1);
  server.admin.running = 3;
  auto client = ConnectTo(server);
  CHECK(client->ListModels().value().at(0).name == "demo");
  auto rendered = client->ApplyChatTemplate({.messages = {{.role = "user", .content = "x"}}});
  REQUIRE(rendered.ok());
  CHECK(rendered->text == "<|im_start|>");
  CHECK(rendered->token_ids == std::vector<uint32_t>{1});
  CHECK(client->Drain(absl::Seconds(9)).value() == 3);
  CHECK(server.admin.drain_request.timeout_seconds() == 9);
  CHECK(client->CheckHealth().value() == Health::kServing);
  CHECK(client->CheckHealth("tessera.live").value() == Health::kNotServing);
  CHECK(client->CheckHealth("nobody").value() == Health::kServiceUnknown);
}

TEST_CASE("refuses a sequence index that no server would send") {
  Completion completion;
  GenerateEvent event;
  event.event = Delta{.index = 0xffffffffu, .text = "x"};
  CHECK(absl::IsInternal(Append(event, completion)));
}

}  // namespace
}  // namespace tessera::client
