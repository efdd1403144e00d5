// The parts of `doctor` that do not need a worker.
#include <filesystem>
#include <fstream>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "client/cli/child.h"
#include "client/cli/machine.h"
#include "tests/support/fixtures.h"
#include "tests/unit/client_cli/run_cli.h"

namespace tessera::tests {
namespace {

namespace fs = std::filesystem;

void Write(const fs::path& file, const std::string& text) {
  fs::create_directories(file.parent_path());
  std::ofstream(file) << text;
}

TEST_CASE("reads the processor's name and the quota of cgroup version 2 from the tightest level") {
  TempDir root;
  Write(root.path() / "proc/cpuinfo",
        "processor\t: 0\nmodel name\t: Some CPU\nprocessor\t: 1\nmodel name\t: Some CPU\n");
  Write(root.path() / "proc/self/cgroup", "0::/a/b\n");
  Write(root.path() / "sys/fs/cgroup/a/cpu.max", "150000 100000\n");
  Write(root.path() / "sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  const client::Processors found = client::ReadProcessors(root.path());
  CHECK(found.model == "Some CPU");
  CHECK(found.online == 2);
  CHECK(found.quota == 1.5);
  CHECK(found.usable >= 1);
}

TEST_CASE("reads the quota of cgroup version 1, and its absence") {
  TempDir root;
  Write(root.path() / "proc/self/cgroup", "5:memory:/x\n4:cpuacct,cpu:/x\n");
  Write(root.path() / "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
  Write(root.path() / "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  CHECK(client::ReadProcessors(root.path()).quota == 0.0);
  Write(root.path() / "sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "50000\n");
  Write(root.path() / "sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "100000\n");
  CHECK(client::ReadProcessors(root.path()).quota == 0.5);
}

TEST_CASE("runs a program and takes both of its outputs and its exit code") {
  auto result =
      client::RunChild({"/bin/sh", "-c", "echo out; echo err >&2; exit 3"}, absl::Seconds(20));
  REQUIRE(result.ok());
  CHECK(result->exit_code == 3);
  CHECK(result->out == "out\n");
  CHECK(result->err == "err\n");
  CHECK(client::RunChild({"/bin/sh", "-c", "kill -9 $$"}, absl::Seconds(20))->exit_code == 137);
}

TEST_CASE("a program that cannot run or does not end is an error") {
  CHECK(absl::IsNotFound(client::RunChild({"/nonexistent/x"}, absl::Seconds(20)).status()));
  CHECK(absl::IsDeadlineExceeded(
      client::RunChild({"/bin/sleep", "600"}, absl::Milliseconds(50)).status()));
}

void MakeProgram(const fs::path& file, const std::string& script) {
  Write(file, "#!/bin/sh\n" + script);
  fs::permissions(file, fs::perms::owner_all);
}

TEST_CASE("doctor reports what the worker says, and fails where one pair fails") {
  TempDir dir;
  MakeProgram(dir.path() / "tessera-server", "echo tessera-server 0.0.1\n");
  MakeProgram(
      dir.path() / "tessera-worker",
      R"(echo '{"version":"1","device":"cpu","threads":2,"kernels":[{"name":"avx2"},{"name":"generic"}],"absent_kernels":[{"name":"avx512","needs":"AVX-512"}],
"comms":["shm","gloo"],"pairs":[{"comm":"shm","ranks":[0,1],"ok":true,"detail":"fine"},
{"comm":"gloo","ranks":[0,1],"ok":false,"detail":"no route"}]}'
)");
  CliResult result =
      RunCli({"doctor", "--model", DemoModel().string(), "--json"}, {.bin_dir = dir.path()});
  CHECK(result.code == 1);
  auto report = nlohmann::json::parse(result.out);
  CHECK(report["ok"] == false);
  auto check = [&](const std::string& name) {
    for (const auto& entry : report["checks"]) {
      if (entry["name"] == name) return entry;
    }
    return nlohmann::json();
  };
  CHECK(check("kernels")["detail"] ==
        "avx2 (auto: the best one here), generic; not avx512, which needs AVX-512");
  CHECK(check("communicators")["detail"] == "shm, gloo");
  CHECK(check("collectives shm 0-1")["ok"] == true);
  CHECK(check("collectives gloo 0-1")["detail"] == "no route");
  CHECK(check("server")["detail"] == "tessera-server 0.0.1, another build than this command");
  CHECK(check("checkpoint")["ok"] == true);
  CHECK(check("plan tp 1 x pp 1")["ok"] == true);
}

TEST_CASE("doctor goes on where a program or a model is missing") {
  CliResult result = RunCli({"doctor", "--model", "/nonexistent/model"});
  CHECK(result.code == 1);
  CHECK(result.out.find("ok    processors") != std::string::npos);
  CHECK(result.out.find("FAIL  worker") != std::string::npos);
  CHECK(result.out.find("FAIL  checkpoint") != std::string::npos);
}

}  // namespace
}  // namespace tessera::tests
