// What the command line says about itself.
#include <cstdlib>
#include <fstream>

#include <catch2/catch.hpp>

#include "tests/support/fixtures.h"
#include "tests/unit/client_cli/run_cli.h"

namespace tessera::tests {
namespace {

TEST_CASE("client/COMMANDS.md is what the commands say of themselves") {
  const std::string file = ReadFile(Fixture("../../client/COMMANDS.md"));
  // The manual must not depend on who runs it.
  CliResult manual = RunCli({"reference"}, {.target = "127.0.0.1:8001"});
  REQUIRE(manual.code == 0);
  INFO("write it anew: tessera reference > client/COMMANDS.md");
  CHECK(manual.out == file);
}

TEST_CASE("the --help of every command has an example") {
  for (const char* command : {"serve", "complete", "chat", "status", "tokenize", "plan", "inspect",
                              "doctor", "completion"}) {
    CAPTURE(command);
    CliResult help = RunCli({command, "--help"});
    CHECK(help.code == 0);
    CHECK(help.out.find("Example") != std::string::npos);
    CHECK(help.out.find(std::string("  tessera ") + command) != std::string::npos);
  }
}

TEST_CASE("the flag --version names the version") {
  CliResult result = RunCli({"--version"});
  CHECK(result.code == 0);
  CHECK(result.out.find("tessera 0.1.0") == 0);
}

TEST_CASE("completion knows every command and flag, and bash accepts it") {
  CliResult bash = RunCli({"completion", "bash"});
  REQUIRE(bash.code == 0);
  CHECK(bash.out.find("complete) words='-h --help --token-ids") != std::string::npos);
  CHECK(bash.out.find("reference") == std::string::npos);
  TempDir dir;
  const auto script = dir.path() / "tessera";
  std::ofstream(script) << bash.out;
  const std::string complete_model =
      "source " + script.string() +
      " && COMP_WORDS=(tessera --color never complete --max) COMP_CWORD=4 && _tessera && "
      "test \"${COMPREPLY[*]}\" = --max-tokens";
  CHECK(std::system(("bash -c '" + complete_model + "'").c_str()) == 0);

  CHECK(RunCli({"completion", "zsh"}).out.find("#compdef tessera") == 0);
  CHECK(RunCli({"completion", "fish"}).out.find("-l max-tokens -r -d") != std::string::npos);
  CHECK(RunCli({"completion", "tcsh"}).code == 2);
}

}  // namespace
}  // namespace tessera::tests
