#include "client/cli/serve.h"

#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <catch2/catch.hpp>

#include "tests/support/fixtures.h"
#include "tests/unit/client_cli/run_cli.h"

namespace tessera::tests {
namespace {

namespace fs = std::filesystem;

void MakeModel(const fs::path& dir) {
  fs::create_directories(dir);
  std::ofstream(dir / "config.json") << "{}";
}

// A tessera-server that prints its arguments, one a line, and exits with 7.
void MakeServer(const fs::path& bin, const fs::path& output) {
  fs::create_directories(bin);
  std::ofstream(bin / "tessera-server")
      << "#!/bin/sh\nprintf '%s\\n' \"$@\" > " << output << "\nexit 7\n";
  fs::permissions(bin / "tessera-server", fs::perms::owner_all);
}

TEST_CASE("finds the bundled model of an installation, wherever it was moved to") {
  TempDir dir;
  MakeModel(dir.path() / "opt/x/share/tessera/models/demo/model");
  auto model = client::FindBundledModel(dir.path() / "opt/x/bin");
  REQUIRE(model.ok());
  CHECK(*model == dir.path() / "opt/x/share/tessera/models/demo/model");
}

TEST_CASE("finds the bundled model of the source tree above a build folder") {
  TempDir dir;
  MakeModel(dir.path() / "deploy/models/demo/model");
  CHECK(client::FindBundledModel(dir.path() / "build/release/bin").value() ==
        dir.path() / "deploy/models/demo/model");
  CHECK(absl::IsNotFound(client::FindBundledModel(dir.path() / "a/b/c/d/bin").status()));
}

TEST_CASE("reads a flag's value in both spellings, the last one counts") {
  using client::FlagValue;
  CHECK(FlagValue({"--model", "a", "--model=b"}, "--model") == "b");
  CHECK(FlagValue({"--tp", "2"}, "--model") == std::nullopt);
  CHECK(FlagValue({"--model-name", "x"}, "--model") == std::nullopt);
  CHECK(FlagValue({"--model"}, "--model") == std::nullopt);
}

TEST_CASE("sees whether a configuration file names a model") {
  TempDir dir;
  const auto config = dir.path() / "tessera.conf";
  std::ofstream(config) << "#model = \"x\"\nmodel-name = \"y\"\n";
  CHECK_FALSE(client::ConfigNamesModel(config));
  std::ofstream(config, std::ios::app) << "  model = \"a=b\"\n";
  CHECK(client::ConfigNamesModel(config));
  CHECK_FALSE(client::ConfigNamesModel(dir.path() / "none"));
}

TEST_CASE("tells a hub's name from a path") {
  using client::LooksLikeHubName;
  CHECK(LooksLikeHubName("meta-llama/Llama-3.2-1B"));
  CHECK_FALSE(LooksLikeHubName("./models/x"));
  CHECK_FALSE(LooksLikeHubName("/models/x"));
  CHECK_FALSE(LooksLikeHubName("a/b/c"));
  CHECK_FALSE(LooksLikeHubName("model"));
  CHECK_FALSE(LooksLikeHubName("model/"));
  CHECK_FALSE(LooksLikeHubName("deploy/models"));  // exists where the tests run
}

TEST_CASE("serve becomes the server, with the same flags and the bundled model") {
  TempDir dir;
  const auto output = dir.path() / "arguments";
  MakeServer(dir.path() / "bin", output);
  MakeModel(dir.path() / "share/tessera/models/demo/model");
  const pid_t child = fork();
  if (child == 0) {
    _exit(RunCli({"serve", "--tp", "2", "--help"}, {.bin_dir = dir.path() / "bin"}).code);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WEXITSTATUS(status) == 7);
  CHECK(ReadFile(output) == "--tp\n2\n--help\n");

  const pid_t without_model = fork();
  if (without_model == 0) {
    _exit(RunCli({"serve", "--grpc-port", "0"}, {.bin_dir = dir.path() / "bin"}).code);
  }
  REQUIRE(waitpid(without_model, &status, 0) == without_model);
  CHECK(WEXITSTATUS(status) == 7);
  CHECK(ReadFile(output) == "--grpc-port\n0\n--model\n" +
                                (dir.path() / "share/tessera/models/demo/model").string() + "\n");
}

TEST_CASE("serve explains a hub's name and a missing server") {
  CliResult hub = RunCli({"serve", "--model", "org/name"});
  CHECK(hub.code == 1);
  CHECK(hub.err.find("hf download org/name --local-dir name") != std::string::npos);
  CliResult missing = RunCli({"serve", "--model", "."});
  CHECK(missing.code == 1);
  CHECK(missing.err.find("cannot run /nonexistent/bin/tessera-server") != std::string::npos);
}

}  // namespace
}  // namespace tessera::tests
