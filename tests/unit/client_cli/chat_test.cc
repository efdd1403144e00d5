#include <signal.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "tests/unit/client_cli/run_cli.h"
#include "tests/unit/client_lib/fake_server.h"

namespace tessera::tests {
namespace {

TEST_CASE("chat with a message asks once") {
  FakeServer server;
  server.inference.events = {DeltaEvent("Paris.")};
  CliResult result = RunCli({"chat", "Capital?", "--system", "Be brief."},
                            {.terminal = true, .target = server.target()});
  CHECK(result.code == 0);
  CHECK(result.out == "Paris.\n");
  const v1::ChatRequest& request = server.inference.chat_requests.at(0);
  REQUIRE(request.messages_size() == 2);
  CHECK(request.messages(0).role() == "system");
  CHECK(request.messages(1).role() == "user");
  CHECK(request.messages(1).content() == "Capital?");
}

TEST_CASE("chat without a terminal takes standard input as the message") {
  FakeServer server;
  CHECK(RunCli({"chat"}, {.in = "a\nb\n", .target = server.target()}).code == 0);
  CHECK(server.inference.chat_requests.at(0).messages(0).content() == "a\nb");
}

TEST_CASE("a conversation sends all that was said before") {
  FakeServer server;
  server.inference.events = {DeltaEvent("Hi."), FinishedEvent(v1::Finished::STOP)};
  CliResult result = RunCli({"chat", "--system", "S", "--max-tokens", "4"},
                            {.in = "one\n\ntwo\n", .terminal = true, .target = server.target()});
  CHECK(result.code == 0);
  REQUIRE(server.inference.chat_requests.size() == 2);
  const v1::ChatRequest& second = server.inference.chat_requests[1];
  REQUIRE(second.messages_size() == 4);
  CHECK(second.messages(1).content() == "one");
  CHECK(second.messages(2).role() == "assistant");
  CHECK(second.messages(2).content() == "Hi.");
  CHECK(second.messages(3).content() == "two");
  CHECK(second.stop().max_tokens() == 4);
}

TEST_CASE("/reset forgets all but the system message, /help lists, /exit ends") {
  FakeServer server;
  CliResult result = RunCli({"chat", "--system", "S"}, {.in = "one\n/reset\ntwo\n/help\n/what\n"
                                                              "/exit\nthree\n",
                                                        .terminal = true,
                                                        .target = server.target()});
  CHECK(result.code == 0);
  REQUIRE(server.inference.chat_requests.size() == 2);
  REQUIRE(server.inference.chat_requests[1].messages_size() == 2);
  CHECK(server.inference.chat_requests[1].messages(1).content() == "two");
  CHECK(result.out.find("/reset  forget the conversation") != std::string::npos);
  CHECK(result.out.find("Unknown command /what") != std::string::npos);
}

TEST_CASE("a refused message is shown, and is not part of the next request") {
  FakeServer server;
  server.inference.error = absl::InvalidArgumentError("too long");
  CliResult result =
      RunCli({"chat"}, {.in = "one\ntwo\n", .terminal = true, .target = server.target()});
  CHECK(result.code == 0);
  CHECK(result.err.find("tessera: too long\n") != std::string::npos);
  REQUIRE(server.inference.chat_requests.size() == 2);
  CHECK(server.inference.chat_requests[1].messages_size() == 1);
}

TEST_CASE("Ctrl-C stops an answer and not the conversation, which keeps what came") {
  FakeServer server;
  server.inference.events = {DeltaEvent("Hel")};
  server.inference.hang = true;
  auto interrupt_once = [&](const std::string& out) {
    if (out.find("[stopped]") != std::string::npos) server.inference.hang = false;
    if (out.size() >= 3 && out.substr(out.size() - 3) == "Hel" && server.inference.hang) {
      kill(getpid(), SIGINT);
    }
  };
  CliResult result = RunCli({"chat"}, {.in = "one\ntwo\n",
                                       .terminal = true,
                                       .target = server.target(),
                                       .on_flush = interrupt_once});
  CHECK(result.code == 0);
  CHECK(result.out.find("Hel\n[stopped]\n") != std::string::npos);
  REQUIRE(server.inference.chat_requests.size() == 2);
  REQUIRE(server.inference.chat_requests[1].messages_size() == 3);
  CHECK(server.inference.chat_requests[1].messages(1).content() == "Hel");
}

}  // namespace
}  // namespace tessera::tests
