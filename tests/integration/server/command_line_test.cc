// Command lines that cannot be served: one readable line and an exit code.
#include <catch2/catch.hpp>

#include <fstream>

#include "tests/support/fixtures.h"
#include "tests/support/process.h"

namespace tessera::tests {
namespace {

struct Ended {
  std::optional<int> code;
  std::string output;
};

Ended Run(const std::vector<std::string>& arguments) {
  Process process(Program("tessera-server"), arguments);
  auto code = process.WaitForExit();
  process.WaitForLine("no such line: the output is read to its end");
  return {code, process.output()};
}

bool Has(const Ended& ended, const std::string& text) {
  return ended.output.find(text) != std::string::npos;
}

TEST_CASE("wrong flags exit with 2 and name the flag") {
  Ended unknown = Run({"--model", DemoModel().string(), "--layers", "2"});
  CHECK(unknown.code == 2);
  CHECK(Has(unknown, "--layers"));
  Ended replicas = Run({"--model", DemoModel().string(), "--dp", "65"});
  CHECK(replicas.code == 2);
  CHECK(Has(replicas, "--dp"));
  Ended value = Run({"--model", DemoModel().string(), "--dtype", "f12"});
  CHECK(value.code == 2);
  CHECK(Has(value, "--dtype"));
  Ended missing = Run({});
  CHECK(missing.code == 2);
  CHECK(Has(missing, "tessera serve"));
}

TEST_CASE(
    "a model that is not there, or is half a checkpoint, exits with 1 and says what is wrong") {
  Ended absent = Run({"--model", "/no/such/model", "--grpc-port", "0"});
  CHECK(absent.code == 1);
  CHECK(Has(absent, "/no/such/model"));
  Ended half = Run({"--model", Fixture("bad/model_truncated").string(), "--grpc-port", "0"});
  CHECK(half.code == 1);
  CHECK(Has(half, "model.safetensors"));
}

TEST_CASE("a degree beyond the lanes exits with 1 and says what would do") {
  Ended ended = Run({"--model", DemoModel().string(), "--tp", "9", "--grpc-port", "0"});
  CHECK(ended.code == 1);
  CHECK(Has(ended, "lanes"));
}

TEST_CASE("a chat template that cannot be parsed exits with 1 and names file, line and column") {
  TempDir dir;
  std::string file = (dir.path() / "broken.jinja").string();
  std::ofstream(file) << "{% for message in messages %}\n  {{ message.content | }}\n{% endfor %}";
  Ended ended = Run({"--model", DemoModel().string(), "--chat-template", file, "--grpc-port", "0"});
  CHECK(ended.code == 1);
  CHECK(Has(ended, "broken.jinja"));
  CHECK(Has(ended, "line 2, column "));
  Ended absent = Run(
      {"--model", DemoModel().string(), "--chat-template", "/no/such.jinja", "--grpc-port", "0"});
  CHECK(absent.code != 0);
  CHECK(Has(absent, "/no/such.jinja"));
}

TEST_CASE("device cuda without the plugin exits with 1 and says what is missing") {
  TempDir empty;
  Ended ended = Run({"--model", DemoModel().string(), "--device", "cuda", "--backend-dir",
                     empty.path().string(), "--grpc-port", "0"});
  CHECK(ended.code == 1);
  CHECK(Has(ended, "--device cuda: rank 0 on "));
  CHECK(Has(ended, "libtessera_cuda.so was not found in " + empty.path().string()));
}

TEST_CASE("a port in use exits with 1 and says who holds it") {
  Server first({"--model", DemoModel().string()});
  std::string port = first.target().substr(first.target().rfind(':') + 1);
  Ended second = Run({"--model", DemoModel().string(), "--grpc-port", port});
  CHECK(second.code == 1);
  CHECK(Has(second, "port " + port + " is in use by process " +
                        std::to_string(first.process().pid()) + " (tessera-server)"));
}

TEST_CASE("a configuration file and variables give flags that the command line leaves out") {
  TempDir dir;
  std::string file = (dir.path() / "tessera.conf").string();
  std::ofstream(file) << "# a comment\nmodel = \"" << DemoModel().string()
                      << "\"\nmodel-name = \"from-file\"\ntp = 2\n";
  Server server({"--config", file, "--tp", "1"});
  CHECK(server.process().output().find("ready: from-file on ") != std::string::npos);
  CHECK(server.process().output().find("tp=1") != std::string::npos);
  std::ofstream(file) << "no-such-flag = 1\n";
  CHECK(Run({"--config", file}).code == 2);
}

TEST_CASE(
    "the flag --kernels list shows the sets of this machine, and a forced one is in the banner") {
  Ended list = Run({"--kernels", "list"});
  CHECK(list.code == 0);
  CHECK(Has(list, "auto takes it"));
  CHECK(Has(list, "generic        fma16          runs\n"));
  Server server({"--model", DemoModel().string(), "--kernels", "generic"});
  CHECK(server.process().output().find("kernels  generic (--kernels)") != std::string::npos);
  Ended wrong = Run({"--model", DemoModel().string(), "--kernels", "sse9"});
  CHECK(wrong.code == 1);
  CHECK(Has(wrong, "no kernel set sse9 runs on every rank"));
}

TEST_CASE("the flags --version and --help exit with 0; FLAGS.md is what --help says") {
  Ended version = Run({"--version"});
  CHECK(version.code == 0);
  CHECK(Has(version, "tessera-server 0."));
  Ended help = Run({"--help"});
  CHECK(help.code == 0);
  std::string page = ReadFile(Fixture("../../server/FLAGS.md"));
  CHECK(page.find(help.output) != std::string::npos);
}

}  // namespace
}  // namespace tessera::tests
