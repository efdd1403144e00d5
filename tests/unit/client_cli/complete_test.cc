#include <signal.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "proto/rpc/status.h"
#include "tests/unit/client_cli/run_cli.h"
#include "tests/unit/client_lib/fake_server.h"

namespace tessera::tests {
namespace {

void AnswerHello(FakeServer& server) {
  server.inference.events = {AcceptedEvent(42, {0, 9}), DeltaEvent("Hel", {1}),
                             DeltaEvent("lo", {2, 3}), FinishedEvent(v1::Finished::STOP, 2, 3)};
}

TEST_CASE("complete prints the text of the pieces and ends the line") {
  FakeServer server;
  AnswerHello(server);
  CliResult result = RunCli({"complete", "Once"}, {.target = server.target()});
  CHECK(result.code == 0);
  CHECK(result.out == "Hello\n");
  CHECK(result.err.empty());
  CHECK(server.inference.generate_request.text() == "Once");
  // Not shown, but needed to go on where the server goes away.
  CHECK(server.inference.generate_request.output().token_ids());
}

TEST_CASE("complete hands over every flag") {
  FakeServer server;
  CliResult result = RunCli({"complete",
                             "p",
                             "--max-tokens",
                             "5",
                             "--temperature",
                             "-1",
                             "--top-k",
                             "-1",
                             "--top-p",
                             "0.5",
                             "--min-p",
                             "0.25",
                             "--typical-p",
                             "0.75",
                             "--repetition-penalty",
                             "1.5",
                             "--presence-penalty",
                             "-0.5",
                             "--frequency-penalty",
                             "0.125",
                             "--logit-bias",
                             "7:-1.5",
                             "--logit-bias",
                             "8:2",
                             "--allowed-token-ids",
                             "3,4",
                             "--bad-word",
                             "no",
                             "--bad-word",
                             "not this",
                             "--seed",
                             "18446744073709551615",
                             "--stop",
                             "a",
                             "--stop",
                             "b c",
                             "--stop-token-id",
                             "7",
                             "--stop-token-id",
                             "8",
                             "--ignore-eos",
                             "--min-tokens",
                             "2",
                             "--logprobs",
                             "0",
                             "--prompt-logprobs",
                             "3",
                             "--echo",
                             "--timeout",
                             "9",
                             "--request-id",
                             "r"},
                            {.target = server.target()});
  REQUIRE(result.code == 0);
  const v1::GenerateRequest& request = server.inference.generate_request;
  CHECK(request.text() == "p");
  CHECK(request.request_id() == "r");
  CHECK(request.sampling().temperature() == -1.0f);
  CHECK(request.sampling().top_k() == -1);
  CHECK(request.sampling().top_p() == 0.5f);
  CHECK(request.sampling().min_p() == 0.25f);
  CHECK(request.sampling().typical_p() == 0.75f);
  CHECK(request.sampling().repetition_penalty() == 1.5f);
  CHECK(request.sampling().presence_penalty() == -0.5f);
  CHECK(request.sampling().frequency_penalty() == 0.125f);
  CHECK(request.sampling().seed() == 18446744073709551615u);
  CHECK(request.sampling().logit_bias().at(7) == -1.5f);
  CHECK(request.sampling().logit_bias().at(8) == 2.0f);
  REQUIRE(request.sampling().allowed_token_ids_size() == 2);
  CHECK(request.sampling().allowed_token_ids(1) == 4);
  REQUIRE(request.sampling().bad_words_size() == 2);
  CHECK(request.sampling().bad_words(1) == "not this");
  CHECK(request.stop().max_tokens() == 5);
  CHECK(request.stop().min_tokens() == 2);
  CHECK(request.stop().ignore_eos());
  REQUIRE(request.stop().strings_size() == 2);
  CHECK(request.stop().strings(1) == "b c");
  REQUIRE(request.stop().token_ids_size() == 2);
  CHECK(request.stop().token_ids(1) == 8);
  CHECK(request.output().has_logprobs());
  CHECK(request.output().prompt_logprobs() == 3);
  CHECK(request.output().echo());
}

TEST_CASE("a bias or a list of ids that cannot be read is wrong usage") {
  for (const char* bias : {"7", "x:1", "7:much", "-1:2"}) {
    CliResult result = RunCli({"complete", "p", "--logit-bias", bias});
    CHECK(result.code == 2);
    CHECK(result.err.find("ID:BIAS") != std::string::npos);
  }
  CHECK(RunCli({"complete", "p", "--allowed-token-ids", "1,x"}).code == 2);
}

TEST_CASE("a flag that is not given is not sent") {
  FakeServer server;
  REQUIRE(RunCli({"complete", "p", "--retry", "none"}, {.target = server.target()}).code == 0);
  const v1::GenerateRequest& request = server.inference.generate_request;
  CHECK(request.sampling().ByteSizeLong() == 0);
  CHECK(request.stop().ByteSizeLong() == 0);
  CHECK(request.output().ByteSizeLong() == 0);
}

TEST_CASE("a prompt may be the name of a command, or come after --") {
  FakeServer server;
  REQUIRE(RunCli({"complete", "chat"}, {.target = server.target()}).code == 0);
  CHECK(server.inference.generate_request.text() == "chat");
  REQUIRE(RunCli({"complete", "--", "--json"}, {.target = server.target()}).code == 0);
  CHECK(server.inference.generate_request.text() == "--json");
}

TEST_CASE("complete reads standard input and drops one newline at its end") {
  FakeServer server;
  REQUIRE(RunCli({"complete"}, {.in = "a\nb\n\n", .target = server.target()}).code == 0);
  CHECK(server.inference.generate_request.text() == "a\nb\n");
  REQUIRE(RunCli({"complete", "-"}, {.in = "x", .target = server.target()}).code == 0);
  CHECK(server.inference.generate_request.text() == "x");
}

TEST_CASE("complete sends token ids as they are and prints those that come back") {
  FakeServer server;
  AnswerHello(server);
  CliResult result = RunCli({"complete", "--token-ids", "[0, 9]", "--show-token-ids"},
                            {.target = server.target()});
  CHECK(result.code == 0);
  CHECK(result.out == "Hello\nprompt token ids: 0,9\ntoken ids: 1,2,3\n");
  CHECK(server.inference.generate_request.token_ids().ids(1) == 9);
  CHECK(server.inference.generate_request.output().token_ids());
}

TEST_CASE("complete --json prints one object with everything") {
  FakeServer server;
  AnswerHello(server);
  auto* token = server.inference.events[1].mutable_delta()->add_logprobs();
  token->set_token_id(1);
  token->set_logprob(-0.25f);
  token->set_token_bytes("\xff");
  CliResult result = RunCli({"complete", "Once", "--json"}, {.target = server.target()});
  REQUIRE(result.code == 0);
  auto json = nlohmann::json::parse(result.out);
  CHECK(json["request_id"] == "r-1");
  CHECK(json["seed"] == 42);
  CHECK(json["prompt_token_ids"] == std::vector<int>{0, 9});
  auto sequence = json["sequences"][0];
  CHECK(sequence["text"] == "Hello");
  CHECK(sequence["token_ids"] == std::vector<int>{1, 2, 3});
  CHECK(sequence["finish_reason"] == "stop");
  CHECK(sequence["usage"]["completion_tokens"] == 3);
  CHECK(sequence["logprobs"][0]["logprob"] == -0.25);
  CHECK(sequence["logprobs"][0]["bytes"] == std::vector<int>{255});
}

TEST_CASE("what a model writes cannot steer a terminal, but reaches a file as it is") {
  FakeServer server;
  server.inference.events = {DeltaEvent("a\x1b[31mb\n")};
  CHECK(RunCli({"complete", "x"}, {.target = server.target()}).out == "a\x1b[31mb\n");
  CHECK(RunCli({"complete", "x"}, {.terminal = true, .target = server.target()}).out ==
        "a\xef\xbf\xbd[31mb\n");
}

TEST_CASE("an error is one line with the field, and the exit code 1") {
  FakeServer server;
  server.inference.error = absl::InvalidArgumentError("must be at least 0,\nfound -1");
  rpc::SetFieldViolation(server.inference.error, "sampling.temperature");
  CliResult result = RunCli({"complete", "x"}, {.target = server.target()});
  CHECK(result.code == 1);
  CHECK(result.err == "tessera: must be at least 0, found -1 (field sampling.temperature)\n");
}

TEST_CASE("a full queue gets a hint when to try again") {
  FakeServer server;
  server.inference.error = absl::ResourceExhaustedError("the queue is full (512 requests)");
  rpc::SetRetryDelay(server.inference.error, absl::Seconds(2));
  CliResult result = RunCli({"complete", "x"}, {.target = server.target()});
  CHECK(result.code == 1);
  CHECK(result.err.find("hint: try again in 2s") != std::string::npos);
}

TEST_CASE("without a server the exit code is 3, and the hint says how to start one") {
  CliResult result = RunCli({"complete", "x"});
  CHECK(result.code == 3);
  CHECK(result.err.find("no Tessera server answers at 127.0.0.1:1\n") != std::string::npos);
  CHECK(result.err.find("hint: start a server with `tessera serve`") != std::string::npos);
}

TEST_CASE("a wrong command line has the exit code 2 and names the help") {
  CHECK(RunCli({}).code == 2);
  CHECK(RunCli({"bogus"}).code == 2);
  CHECK(RunCli({"complete", "x", "--max-tokens", "many"}).code == 2);
  CHECK(RunCli({"complete", "x", "--token-ids", "1"}).code == 2);
  CHECK(RunCli({"complete", "--token-ids", "1,x"}).code == 2);
  CliResult result = RunCli({"complete", "x", "--bogus"});
  CHECK(result.code == 2);
  CHECK(result.err.find("--bogus") != std::string::npos);
  CHECK(result.err.find("`tessera complete --help`") != std::string::npos);
}

TEST_CASE("Ctrl-C stops a completion, and the exit code is 130") {
  FakeServer server;
  server.inference.events = {AcceptedEvent(1), DeltaEvent("Hel")};
  server.inference.hang = true;
  CliResult result =
      RunCli({"complete", "x"}, {.target = server.target(), .on_flush = [](const std::string& out) {
                                   if (out == "Hel") kill(getpid(), SIGINT);
                                 }});
  CHECK(result.code == 130);
  CHECK(result.out == "Hel\n");
  CHECK(server.inference.WaitUntilCancelled());
}

}  // namespace
}  // namespace tessera::tests
