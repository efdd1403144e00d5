#include "client/lib/resume.h"

#include <deque>
#include <thread>

#include <catch2/catch.hpp>

#include "client/lib/collect.h"
#include "proto/rpc/status.h"

namespace tessera::client {
namespace {

// A stream that says what it is told to, then ends with `status`.
class FakeStream final : public Stream<GenerateEvent> {
 public:
  FakeStream(std::deque<GenerateEvent> events, absl::Status status)
      : events_(std::move(events)), status_(std::move(status)) {}
  absl::StatusOr<std::optional<GenerateEvent>> Next() override {
    if (!events_.empty()) {
      GenerateEvent event = std::move(events_.front());
      events_.pop_front();
      return event;
    }
    if (status_.ok()) return std::nullopt;
    return status_;
  }
  void Cancel() override {}

 private:
  std::deque<GenerateEvent> events_;
  absl::Status status_;
};

struct Script {
  std::deque<GenerateEvent> events;
  absl::Status status;
};

GenerateEvent Accept(std::string weights = "w1") {
  return {"r", Accepted{.seed = 42,
                        .numerics_id = "n1",
                        .weights_version = std::move(weights),
                        .prompt_token_ids = {7, 8}}};
}
GenerateEvent Text(std::string text, std::vector<uint32_t> ids, uint32_t index = 0) {
  return {"r", Delta{.index = index, .text = std::move(text), .token_ids = std::move(ids)}};
}
GenerateEvent End(uint32_t index = 0) {
  return {"r", Finished{.index = index, .reason = FinishReason::kLength}};
}

// Plays the scripts one after the other, and remembers what was asked.
struct Server {
  std::deque<Script> scripts;
  std::vector<CallOptions> first_calls;
  std::vector<GenerateOptions> later_calls;

  GenerateStreamPtr Play() {
    Script script = scripts.empty() ? Script{{}, absl::UnavailableError("gone")} : scripts.front();
    if (!scripts.empty()) scripts.pop_front();
    return std::make_unique<FakeStream>(std::move(script.events), script.status);
  }
  GenerateStreamPtr Open(CallOptions options) {
    options.retry = Retry::kResume;
    return MakeResumingStream(options, {.first =
                                            [this](const CallOptions& call) {
                                              first_calls.push_back(call);
                                              return Play();
                                            },
                                        .again =
                                            [this](const GenerateOptions& call) {
                                              later_calls.push_back(call);
                                              return Play();
                                            }});
  }
};

const absl::Status kGone = absl::UnavailableError("Connection reset by peer");

TEST_CASE("a stream whose server goes away goes on with the seed behind the last token") {
  Server server;
  server.scripts = {{{Accept(), Text("a", {1}), Text("bc", {2, 3})}, kGone},
                    {{}, kGone},  // it is not back yet
                    {{Accept(), Text("d", {4}), End()}, absl::OkStatus()}};
  CallOptions options;
  options.stop.max_tokens = 4;
  options.output.prompt_logprobs = 1;
  options.output.token_ids = true;
  int interruptions = 0;
  options.on_interruption = [&](const absl::Status& why) {
    CHECK(why == kGone);
    ++interruptions;
  };
  auto completion = Collect(*server.Open(options));
  REQUIRE(completion.ok());
  CHECK(completion->sequences.at(0).text == "abcd");
  CHECK(completion->sequences[0].token_ids == std::vector<uint32_t>{1, 2, 3, 4});
  CHECK(completion->sequences[0].finished.reason == FinishReason::kLength);
  CHECK(interruptions == 1);
  REQUIRE(server.later_calls.size() == 2);
  const GenerateOptions& again = server.later_calls[1];
  CHECK(std::get<std::vector<uint32_t>>(again.prompt) == std::vector<uint32_t>{7, 8});
  CHECK(again.continue_from == std::vector<uint32_t>{1, 2, 3});
  CHECK(again.sampling.seed == 42);
  CHECK(again.stop.max_tokens == 4);
  CHECK_FALSE(again.output.prompt_logprobs.has_value());
}

TEST_CASE("ids are asked for to go on, and shown only to those who want them") {
  Server server;
  server.scripts = {{{Accept(), Text("a", {1})}, kGone},
                    {{Accept(), Text("b", {2}), End()}, absl::OkStatus()}};
  auto completion = Collect(*server.Open({}));
  REQUIRE(completion.ok());
  CHECK(server.first_calls.at(0).output.token_ids == true);
  CHECK(server.later_calls.at(0).continue_from == std::vector<uint32_t>{1});
  CHECK(completion->sequences.at(0).text == "ab");
  CHECK(completion->sequences[0].token_ids.empty());
  CHECK(completion->accepted.prompt_token_ids.empty());
}

TEST_CASE("several sequences come again from the beginning, without what was there") {
  Server server;
  server.scripts = {
      {{Accept(), Text("ab", {1, 2}, 0), Text("x", {9}, 1), End(1)}, kGone},
      {{Accept(), Text("x", {9}, 1), End(1), Text("abc", {1, 2, 3}, 0), End(0)}, absl::OkStatus()}};
  CallOptions options;
  options.sampling.n = 2;
  options.output.token_ids = true;
  auto stream = server.Open(options);
  Completion completion;
  int ends = 0;
  while (true) {
    auto event = stream->Next();
    REQUIRE(event.ok());
    if (!event->has_value()) break;
    ends += std::holds_alternative<Finished>((*event)->event);
    REQUIRE(Append(**std::move(event), completion).ok());
  }
  CHECK(ends == 2);
  CHECK(completion.sequences.at(0).text == "abc");
  CHECK(completion.sequences[0].token_ids == std::vector<uint32_t>{1, 2, 3});
  CHECK(completion.sequences.at(1).text == "x");
  REQUIRE(server.first_calls.size() == 2);
  CHECK(server.first_calls[1].continue_from.empty());
  CHECK(server.first_calls[1].sampling.seed == 42);
}

TEST_CASE("an echo that was cut off goes on where it was") {
  Server server;
  GenerateEvent echo = Text("prompt", {});
  std::get<Delta>(echo.event).logprobs = {{.token_id = 7}, {.token_id = 8}};
  GenerateEvent more = Text("", {});
  std::get<Delta>(more.event).logprobs = {{.token_id = 9}};
  server.scripts = {{{Accept(), echo}, kGone},
                    {{Accept(), echo, more, Text("a", {1}), End()}, absl::OkStatus()}};
  CallOptions options;
  options.output.echo = true;
  auto completion = Collect(*server.Open(options));
  REQUIRE(completion.ok());
  CHECK(completion->sequences.at(0).text == "prompta");
  CHECK(completion->sequences[0].logprobs.size() == 3);
  CHECK(server.first_calls.at(1).output.echo == true);
}

TEST_CASE("a server that came back with other weights, or other tokens, is not gone on with") {
  Server other_weights;
  other_weights.scripts = {{{Accept(), Text("a", {1})}, kGone}, {{Accept("w2")}, absl::OkStatus()}};
  CHECK(absl::IsFailedPrecondition(Collect(*other_weights.Open({})).status()));

  Server other_tokens;
  other_tokens.scripts = {{{Accept(), Text("a", {1})}, kGone},
                          {{Accept(), Text("b", {2})}, absl::OkStatus()}};
  CallOptions options;
  options.sampling.n = 2;
  CHECK(absl::IsDataLoss(Collect(*other_tokens.Open(options)).status()));
}

TEST_CASE("an error that is no interruption ends the stream, before and after Accepted") {
  for (bool accepted : {false, true}) {
    Server server;
    Script script{{}, absl::InvalidArgumentError("no")};
    if (accepted) script.events.push_back(Accept());
    server.scripts = {script};
    CHECK(absl::IsInvalidArgument(Collect(*server.Open({})).status()));
    CHECK(server.later_calls.empty());
  }
}

TEST_CASE("a server that stays away ends the stream after the time given") {
  Server server;
  server.scripts = {{{Accept(), Text("a", {1})}, kGone}};
  CallOptions options;
  options.resume_timeout = absl::Milliseconds(350);
  auto completion = Collect(*server.Open(options));
  CHECK(absl::IsUnavailable(completion.status()));
  CHECK(server.later_calls.size() >= 1);
  CHECK(server.first_calls.size() == 1);
}

TEST_CASE("a server that came back with a full queue is asked again") {
  absl::Status full = absl::ResourceExhaustedError("the queue is full");
  rpc::SetRetryDelay(full, absl::Milliseconds(10));
  Server server;
  server.scripts = {{{Accept(), Text("a", {1})}, kGone},
                    {{}, full},
                    {{Accept(), Text("b", {2}), End()}, absl::OkStatus()}};
  auto completion = Collect(*server.Open({}));
  REQUIRE(completion.ok());
  CHECK(completion->sequences.at(0).text == "ab");

  Server fresh;
  fresh.scripts = {{{}, full}};
  CHECK(absl::IsResourceExhausted(Collect(*fresh.Open({})).status()));
}

TEST_CASE("a server that begins again and again without a token is given up in time") {
  Server server;
  server.scripts = {{{Accept(), Text("a", {1})}, kGone}};
  for (int i = 0; i < 10000; ++i) server.scripts.push_back({{Accept()}, kGone});
  CallOptions options;
  options.resume_timeout = absl::Milliseconds(350);
  CHECK(absl::IsUnavailable(Collect(*server.Open(options)).status()));
}

TEST_CASE("Cancel ends the wait for a server") {
  Server server;
  server.scripts = {{{Accept()}, kGone}};
  CallOptions options;
  options.resume_timeout = absl::Hours(1);
  auto stream = server.Open(options);
  REQUIRE(stream->Next().ok());
  std::thread canceller([&stream] { stream->Cancel(); });
  CHECK(absl::IsCancelled(stream->Next().status()));
  canceller.join();
}

}  // namespace
}  // namespace tessera::client
