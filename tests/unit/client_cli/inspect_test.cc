#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "tests/support/fixtures.h"
#include "tests/unit/client_cli/run_cli.h"

namespace tessera::tests {
namespace {

TEST_CASE("inspect prints a checkpoint as text and as JSON") {
  CliResult text = RunCli({"inspect", DemoModel().string()});
  CHECK(text.code == 0);
  CHECK(text.out.find("llama") != std::string::npos);
  CliResult json = RunCli({"inspect", DemoModel().string(), "--json"});
  CHECK(json.code == 0);
  CHECK(nlohmann::json::parse(json.out).is_object());
}

TEST_CASE("inspect and plan explain a hub's name and a wrong path") {
  for (const char* command : {"inspect", "plan"}) {
    CliResult hub = RunCli({command, "org/name"});
    CHECK(hub.code == 1);
    CHECK(hub.err.find("hf download org/name") != std::string::npos);
    CliResult wrong = RunCli({command, "/nonexistent/model"});
    CHECK(wrong.code == 1);
    CHECK(wrong.err.find("/nonexistent/model") != std::string::npos);
  }
}

TEST_CASE("plan shows every rank, and refuses degrees that cannot be") {
  CliResult plan = RunCli({"plan", DemoModel().string(), "--tp", "2", "--pp", "2", "--json"});
  CHECK(plan.code == 0);
  CHECK(nlohmann::json::parse(plan.out)["ranks"].size() == 4);
  CHECK(RunCli({"plan", DemoModel().string(), "--tp", "3", "--memory"}).code == 0);
  CliResult impossible = RunCli({"plan", DemoModel().string(), "--tp", "64"});
  CHECK(impossible.code == 1);
  CHECK_FALSE(impossible.err.empty());
}

TEST_CASE("plan shows the room that evicted blocks get, and refuses what is no size") {
  CliResult plan = RunCli({"plan", DemoModel().string(), "--tp", "2", "--kv-offload", "1MiB",
                           "--max-num-seqs", "2", "--json"});
  CHECK(plan.code == 0);
  const auto json = nlohmann::json::parse(plan.out);
  CHECK(json["memory"]["num_kv_slots"].get<int64_t>() > 0);
  CHECK(json["ranks"][1]["memory"]["kv_offload"].get<int64_t>() <= 1 << 20);
  CliResult text = RunCli({"plan", DemoModel().string(), "--kv-offload", "1MiB",
                           "--kv-offload-path", "/somewhere", "--max-num-seqs", "2"});
  CHECK(text.code == 0);
  CHECK(text.out.find("KV offload: ") != std::string::npos);
  CHECK(text.out.find(" in a file\n") != std::string::npos);
  CliResult wrong = RunCli({"plan", DemoModel().string(), "--kv-offload", "much"});
  CHECK(wrong.code == 2);
  CHECK(wrong.err.find("--kv-offload: 'much' is not a size above 0") != std::string::npos);
  CHECK(RunCli({"plan", DemoModel().string(), "--kv-offload-path", "/somewhere"}).code == 2);
}

TEST_CASE("a damaged checkpoint is one readable line") {
  CliResult result = RunCli({"inspect", Fixture("bad/model_truncated").string()});
  CHECK(result.code == 1);
  CHECK(result.err.find("model.safetensors") != std::string::npos);
}

}  // namespace
}  // namespace tessera::tests
