// The commands that print facts: tokenize, status, and the pieces that they are made of.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "client/cli/input.h"
#include "client/cli/terminal.h"
#include "tests/unit/client_cli/run_cli.h"
#include "tests/unit/client_lib/fake_server.h"

namespace tessera::tests {
namespace {

void AnswerPieces(FakeServer& server) {
  auto add = [&](uint32_t id, const std::string& bytes, uint64_t begin, bool special) {
    auto* piece = server.inference.tokenize.add_pieces();
    piece->set_id(id);
    piece->set_bytes(bytes);
    piece->set_begin(begin);
    piece->set_end(special ? begin : begin + bytes.size());
    piece->set_special(special);
  };
  add(0, "<s>", 0, true);
  add(17, "Hi", 0, false);
  add(300, "\xe2\x82", 2, false);
}

TEST_CASE("tokenize shows the pieces, their ids and their offsets") {
  FakeServer server;
  AnswerPieces(server);
  CliResult result = RunCli({"tokenize", "Hi?"}, {.target = server.target()});
  CHECK(result.code == 0);
  CHECK(result.out ==
        "<s>|Hi|\\xe2\\x82\n"
        "\n"
        "       0       0..0       \"<s>\"  special\n"
        "      17       0..2       \"Hi\"\n"
        "     300       2..4       \"\\xe2\\x82\"\n"
        "3 tokens\n");
}

TEST_CASE("tokenize in colour sets every piece apart from its neighbours") {
  FakeServer server;
  AnswerPieces(server);
  CliResult result = RunCli({"tokenize", "Hi?", "--color", "always"}, {.target = server.target()});
  const std::string line = result.out.substr(0, result.out.find('\n'));
  CHECK(line ==
        "\x1b[97;45m<s>\x1b[0m"
        "\x1b[30;48;5;222mHi\x1b[0m"
        "\x1b[30;48;5;157m\\xe2\\x82\x1b[0m");
}

TEST_CASE("tokenize --chat shows the prompt that the chat template makes") {
  FakeServer server;
  server.inference.rendered.set_text("<s>Hi?");
  server.inference.rendered.mutable_token_ids()->add_ids(1);
  server.inference.rendered.mutable_token_ids()->add_ids(17);
  CliResult result = RunCli({"tokenize", "--chat", "Hi?", "--system", "Be brief.",
                             "--template-kwargs", "{\"a\":1}", "--no-generation-prompt"},
                            {.target = server.target()});
  CHECK(result.code == 0);
  CHECK(result.out == "<s>Hi?\n\n2 tokens: 1 17\n");
  const auto& request = server.inference.render_request;
  REQUIRE(request.messages_size() == 2);
  CHECK(request.messages(0).role() == "system");
  CHECK(request.messages(1).content() == "Hi?");
  CHECK(request.chat_template_kwargs_json() == "{\"a\":1}");
  CHECK_FALSE(request.add_generation_prompt());
  CHECK_FALSE(request.has_parse_special_in_content());
  CHECK(RunCli({"tokenize", "Hi?", "--system", "x"}, {.target = server.target()}).code != 0);
  CHECK(RunCli({"tokenize", "--chat", "--ids", "1"}, {.target = server.target()}).code != 0);
}

TEST_CASE("tokenize --json gives offsets and bytes, and hands its flags over") {
  FakeServer server;
  AnswerPieces(server);
  CliResult result = RunCli({"tokenize", "--json", "--no-special-tokens", "--plain"},
                            {.in = "Hi?\n", .target = server.target()});
  REQUIRE(result.code == 0);
  auto tokens = nlohmann::json::parse(result.out)["tokens"];
  CHECK(tokens[1]["token_id"] == 17);
  CHECK(tokens[1]["begin"] == 0);
  CHECK(tokens[1]["end"] == 2);
  CHECK(tokens[2]["bytes"] == std::vector<int>{0xe2, 0x82});
  CHECK(tokens[0]["special"] == true);
  CHECK(server.inference.tokenize_request.text() == "Hi?");
  CHECK(server.inference.tokenize_request.has_add_special_tokens());
  CHECK(server.inference.tokenize_request.has_parse_special_tokens());
}

TEST_CASE("tokenize --ids decodes") {
  FakeServer server;
  server.inference.detokenize.set_text("back");
  CliResult result =
      RunCli({"tokenize", "--ids", "1,2", "--skip-special-tokens"}, {.target = server.target()});
  CHECK(result.code == 0);
  CHECK(result.out == "back\n");
  CHECK(server.inference.detokenize_request.token_ids().ids(1) == 2);
  CHECK(server.inference.detokenize_request.skip_special_tokens());
}

v1::ServerStatus Status(v1::ServerStatus::State state, double loaded) {
  v1::ServerStatus status;
  status.set_state(state);
  status.set_model("demo");
  status.set_version("0.1.0");
  auto* group = status.add_groups();
  group->set_state(state);
  group->set_tp(1);
  group->set_pp(1);
  auto* rank = group->add_ranks();
  rank->set_load_fraction(loaded);
  rank->set_weight_bytes(1536);
  return status;
}

TEST_CASE("status prints what the server says, and its exit code says whether it is ready") {
  FakeServer server;
  server.admin.statuses = {Status(v1::ServerStatus::READY, 1.0)};
  CliResult ready = RunCli({"status"}, {.target = server.target()});
  CHECK(ready.code == 0);
  CHECK(ready.out.find("ready: demo on 127.0.0.1:") == 0);
  CHECK(ready.out.find("weights 1.5 KiB") != std::string::npos);

  server.admin.statuses = {Status(v1::ServerStatus::LOADING, 0.25)};
  CliResult loading = RunCli({"status", "--json"}, {.target = server.target()});
  CHECK(loading.code == 1);
  auto json = nlohmann::json::parse(loading.out);
  CHECK(json["state"] == "loading");
  CHECK(json["groups"][0]["ranks"][0]["load_fraction"] == 0.25);
  CHECK(RunCli({"status"}).code == 3);
}

TEST_CASE("status tells how long a loss lasted, and how often the group was lost meanwhile") {
  FakeServer server;
  v1::ServerStatus status = Status(v1::ServerStatus::READY, 1.0);
  v1::Loss* loss = status.mutable_groups(0)->add_losses();
  loss->set_was_ready(true);
  loss->set_pause_seconds(0.5);
  loss->set_requests_replayed(3);
  loss->set_tokens_replayed(40);
  server.admin.statuses = {status};
  const std::string once = "it was back after 0.50 s: 3 requests went on, 40 tokens replayed\n";
  CHECK(RunCli({"status"}, {.target = server.target()}).out.find(once) != std::string::npos);
  for (double pause : {0.4, 0.2}) {
    status.mutable_groups(0)->add_losses()->set_pause_seconds(pause);
  }
  server.admin.statuses = {status};
  const std::string again =
      "it was back after 0.50 s: 3 requests went on, 40 tokens replayed; lost 2 more times "
      "meanwhile\n";
  CHECK(RunCli({"status"}, {.target = server.target()}).out.find(again) != std::string::npos);
}

TEST_CASE("status shows where evicted blocks are, where they are kept") {
  FakeServer server;
  v1::ServerStatus status = Status(v1::ServerStatus::READY, 1.0);
  server.admin.statuses = {status};
  CHECK(RunCli({"status"}, {.target = server.target()}).out.find("KV offload") ==
        std::string::npos);
  v1::EngineFigures* engine = status.mutable_engine();
  engine->set_kv_slots_total(200);
  engine->set_kv_slots_used(34);
  engine->set_blocks_spilled_total(50);
  engine->set_blocks_fetched_total(7);
  engine->set_fetched_tokens_total(111);
  server.admin.statuses = {status};
  CHECK(RunCli({"status"}, {.target = server.target()})
            .out.find("KV offload: 34 of 200 slots in use, 50 blocks spilled, 7 fetched (111 "
                      "tokens)\n") != std::string::npos);
  const auto json =
      nlohmann::json::parse(RunCli({"status", "--json"}, {.target = server.target()}).out);
  CHECK(json["engine"]["kv_slots_total"] == 200);
  CHECK(json["engine"]["kv_slots_used"] == 34);
  CHECK(json["engine"]["blocks_spilled_total"] == 50);
  CHECK(json["engine"]["blocks_fetched_total"] == 7);
  CHECK(json["engine"]["fetched_tokens_total"] == 111);
}

TEST_CASE("status --watch --json prints one line per look") {
  FakeServer server;
  server.admin.statuses = {Status(v1::ServerStatus::LOADING, 0.5),
                           Status(v1::ServerStatus::READY, 1.0)};
  CliResult result =
      RunCli({"status", "--watch", "--json", "--interval", "0.5"}, {.target = server.target()});
  CHECK(result.code == 0);
  const size_t border = result.out.find('\n');
  CHECK(nlohmann::json::parse(result.out.substr(0, border))["state"] == "loading");
  CHECK(nlohmann::json::parse(result.out.substr(border + 1))["state"] == "ready");
  CHECK(server.admin.watch_request.interval_ms() == 500);
}

TEST_CASE("status --wait returns when the server is ready, with a bar on a terminal") {
  FakeServer server;
  server.admin.statuses = {Status(v1::ServerStatus::LOADING, 0.5),
                           Status(v1::ServerStatus::READY, 1.0)};
  CliResult plain = RunCli({"status", "--wait"}, {.target = server.target()});
  CHECK(plain.code == 0);
  CHECK(plain.err.empty());
  CliResult terminal = RunCli({"status", "--wait"}, {.terminal = true, .target = server.target()});
  CHECK(terminal.code == 0);
  CHECK(terminal.err.find("[#############.............]  50 % loading") != std::string::npos);
  CHECK(terminal.err.substr(terminal.err.size() - 4) == "\r\x1b[K");
}

TEST_CASE("status --wait says when the time is over or the server failed") {
  CliResult nobody = RunCli({"status", "--wait", "--timeout", "0.2"});
  CHECK(nobody.code == 3);
  FakeServer server;
  server.admin.statuses = {Status(v1::ServerStatus::FAILED, 0.0)};
  CHECK(RunCli({"status", "--wait"}, {.target = server.target()}).code == 1);
}

TEST_CASE("reads token ids in the forms that people write") {
  using client::ParseTokenIds;
  CHECK(ParseTokenIds("1,2,3").value() == std::vector<uint32_t>{1, 2, 3});
  CHECK(ParseTokenIds(" [1, 2\n3] ").value() == std::vector<uint32_t>{1, 2, 3});
  CHECK(ParseTokenIds("").value().empty());
  CHECK(absl::IsInvalidArgument(ParseTokenIds("1,-2").status()));
  CHECK(absl::IsInvalidArgument(ParseTokenIds("4294967296").status()));
}

TEST_CASE("escapes what a terminal must not see and keeps whole characters") {
  using client::Escaped;
  CHECK(Escaped("a\n\t\"\\\x1b") == "a\\n\\t\\\"\\\\\\x1b");
  CHECK(Escaped("Grüße 你 🙂") == "Grüße 你 🙂");
  CHECK(Escaped("\xc2\x9b") == "\\xc2\\x9b");
  CHECK(Escaped("\xe2\x82") == "\\xe2\\x82");
  CHECK(Escaped("\xed\xa0\x80") == "\\xed\\xa0\\x80");
  CHECK(Escaped("\xc0\x80") == "\\xc0\\x80");
}

TEST_CASE("writes sizes and times as people say them") {
  CHECK(client::HumanBytes(0) == "0 B");
  CHECK(client::HumanBytes(1536) == "1.5 KiB");
  CHECK(client::HumanBytes(uint64_t{5} << 30) == "5.0 GiB");
  CHECK(client::HumanSeconds(59.9) == "59s");
  CHECK(client::HumanSeconds(3725) == "1h02m05s");
  CHECK(client::HumanSeconds(-1) == "?");
}

}  // namespace
}  // namespace tessera::tests
