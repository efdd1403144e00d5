#include "server/app/flags.h"

#include <catch2/catch.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <vector>

#include "tests/support/fixtures.h"

namespace tessera::server {
namespace {

std::variant<ServerOptions, FlagsExit, ListKernels> Parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "/usr/bin/tessera-server");
  return ParseFlags(static_cast<int>(arguments.size()), arguments.data());
}

ServerOptions Options(const std::vector<const char*>& arguments) {
  auto parsed = Parse(arguments);
  const auto* exit = std::get_if<FlagsExit>(&parsed);
  INFO((exit != nullptr ? exit->text : ""));
  REQUIRE(exit == nullptr);
  return std::get<ServerOptions>(parsed);
}

void CheckUsage(const std::vector<const char*>& arguments, const std::string& part) {
  auto parsed = Parse(arguments);
  const auto* exit = std::get_if<FlagsExit>(&parsed);
  REQUIRE(exit != nullptr);
  CHECK(exit->code == 2);
  INFO(exit->text);
  CHECK(exit->text.find(part) != std::string::npos);
}

TEST_CASE("a list of kernel sets needs no model") {
  CHECK(std::holds_alternative<ListKernels>(Parse({"--kernels", "list"})));
}

TEST_CASE("flags fill the options of each component, and defaults the rest") {
  ServerOptions options =
      Options({"--model", "dir", "--tp", "2", "--pp", "3", "--workers", "a:1,b:2", "--step-timeout",
               "0.5", "--drain-timeout", "7", "--max-queue", "9", "--grpc-port", "0"});
  CHECK(options.model_dir == "dir");
  CHECK(options.group.layout.tp == 2);
  CHECK(options.group.layout.pp == 3);
  CHECK(options.group.layout.lanes == 8);
  CHECK(options.group.workers == std::vector<std::string>{"a:1", "b:2"});
  CHECK(options.group.step_timeout == absl::Milliseconds(500));
  CHECK(options.drain_timeout == absl::Seconds(7));
  CHECK(options.engine.max_queue == 9);
  CHECK(options.frontend.port == 0);
  CHECK(options.frontend.host == "127.0.0.1");
  CHECK(options.group.dtype == "auto");
}

TEST_CASE("flags of the simulation are refused for other devices") {
  ServerOptions options = Options({"--model", "dir", "--device", "sim", "--sim-token-us", "1.5",
                                   "--sim-poison-token", "7", "--sim-trace", "file"});
  CHECK(options.group.device == "sim");
  CHECK(options.group.sim.token_us == 1.5);
  CHECK(options.group.sim.poison_token == 7u);
  CHECK(options.group.sim.trace == "file");
  CheckUsage({"--model", "dir", "--sim-poison-token", "7"},
             "--sim-poison-token is for --device sim");
  CheckUsage({"--model", "dir", "--device", "tpu"}, "--device");
}

TEST_CASE("wrong flags are a usage error that names them") {
  CheckUsage({}, "--model DIR is missing");
  CheckUsage({"--model", "dir", "--ep", "0"}, "--ep");
  CheckUsage({"--model", "dir", "--tp", "0"}, "--tp");
  CheckUsage({"--model", "dir", "--tp", "two"}, "--tp");
  CheckUsage({"--model", "dir", "--comm", "tcp"}, "--comm");
  CheckUsage({"--model", "dir", "--max-num-seqs", "64", "--max-num-batched-tokens", "32"},
             "every running sequence needs a token of each step");
}

TEST_CASE("evicted blocks are kept in memory, or in a file in a folder that takes one") {
  CHECK(Options({"--model", "d"}).group.kv_offload_bytes == 0);
  const ServerOptions memory = Options({"--model", "d", "--kv-offload", "1.5GiB"});
  CHECK(memory.group.kv_offload_bytes == int64_t{3} << 29);
  CHECK(memory.group.kv_offload_dir.empty());
  tests::TempDir folder;
  const std::string path = folder.path().string();
  const ServerOptions file =
      Options({"--model", "d", "--kv-offload", "64MiB", "--kv-offload-path", path.c_str()});
  CHECK(file.group.kv_offload_dir == path);
  CHECK(std::filesystem::is_empty(folder.path()));
  // Workers have another idea of where they are.
  CHECK(std::filesystem::path(
            Options({"--model", "d", "--kv-offload", "1M", "--kv-offload-path", "."})
                .group.kv_offload_dir)
            .is_absolute());
  // Only their hosts know the folders of remote ranks.
  CHECK(Options({"--model", "d", "--kv-offload", "1M", "--kv-offload-path", "/no/such", "--workers",
                 "a:1"})
            .group.kv_offload_dir == "/no/such");
}

TEST_CASE("an offload that cannot be is a usage error that says why") {
  for (const char* size : {"0", "x", "4Gb", "-1G"}) {
    CheckUsage({"--model", "d", "--kv-offload", size}, "is not a size above 0");
  }
  CheckUsage({"--model", "d", "--kv-offload-path", "/tmp"}, "--kv-offload-path needs --kv-offload");
  CheckUsage({"--model", "d", "--kv-offload", "1G", "--no-prefix-cache"}, "--no-prefix-cache");
  CheckUsage({"--model", "d", "--kv-offload", "1G", "--device", "sim"},
             "--kv-offload is not for --device sim");
  CheckUsage({"--model", "d", "--kv-offload", "1G", "--kv-offload-path", "/no/such"},
             "--kv-offload-path '/no/such' is not a folder");
  CheckUsage({"--model", "d", "--kv-offload", "1G", "--kv-offload-path", "/dev/null"},
             "'/dev/null' is not a folder");
  // Nothing can be written there, not even by root.
  CheckUsage({"--model", "d", "--kv-offload", "1G", "--kv-offload-path", "/proc/self"},
             "--kv-offload-path: a file in the folder /proc/self cannot be made");
  CheckUsage({"--model", "d", "--kv-offload", "1G", "--kv-offload-path", "tmp", "--workers", "a:1"},
             "give it from the root");
}

TEST_CASE("guessing is off unless it is asked for, or a draft model is given") {
  CHECK(Options({"--model", "d"}).group.speculation.num_tokens == 0);
  const ServerOptions ngram = Options({"--model", "d", "--speculate", "ngram"});
  CHECK(ngram.group.speculation.num_tokens == 4);
  CHECK(ngram.draft_dir.empty());
  const ServerOptions draft =
      Options({"--model", "d", "--draft", "e", "--num-speculative-tokens", "6"});
  CHECK(draft.speculate == "draft");
  CHECK(draft.group.speculation.num_tokens == 6);
  CHECK(Options({"--model", "d", "--draft", "e", "--speculate", "off"})
            .group.speculation.num_tokens == 0);
  CheckUsage({"--model", "d", "--speculate", "draft"}, "--draft DIR");
  CheckUsage({"--model", "d", "--speculate", "ngram", "--draft", "e"}, "exclude each other");
  CheckUsage({"--model", "d", "--num-speculative-tokens", "33"}, "--num-speculative-tokens");
  CheckUsage({"--model", "d", "--ngram-prompt-lookup-min", "5"}, "--ngram-prompt-lookup-max 4");
}

TEST_CASE("the command line wins over the file, and the file over the environment") {
  tests::TempDir dir;
  const std::string file = (dir.path() / "tessera.conf").string();
  std::ofstream(file) << "model = \"from-file\"\npp = 2\n";
  setenv("TESSERA_TP", "4", 1);
  setenv("TESSERA_PP", "4", 1);
  setenv("TESSERA_LANES", "16", 1);
  ServerOptions options = Options({"--config", file.c_str(), "--tp", "3"});
  for (const char* name : {"TESSERA_TP", "TESSERA_PP", "TESSERA_LANES"}) unsetenv(name);
  CHECK(options.model_dir == "from-file");
  CHECK(options.group.layout.tp == 3);
  CHECK(options.group.layout.pp == 2);
  CHECK(options.group.layout.lanes == 16);
}

TEST_CASE("a file with a key that is no flag, or that is not there, is a usage error") {
  tests::TempDir dir;
  const std::string file = (dir.path() / "tessera.conf").string();
  std::ofstream(file) << "model = \"x\"\nmodle = \"y\"\n";
  CheckUsage({"--config", file.c_str()}, "modle");
  CheckUsage({"--config", "/no/such/file"}, "/no/such/file");
}

}  // namespace
}  // namespace tessera::server
