// A worker dies, stops, hangs, lies or never comes: the group is lost with a name to it, comes back
// where it can, and leaves nothing behind.
#include <catch2/catch.hpp>

#include <signal.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>

#include "proto/rpc/error_site.h"
#include "server/executor/group_executor.h"
#include "tests/integration/session/fake_worker.h"
#include "tests/integration/session/group_harness.h"
#include "tests/support/process.h"

namespace tessera::tests {
namespace {

using Kind = RecordedEvents::Event::Kind;

bool Names(const absl::Status& status, const std::string& text) {
  return std::string(status.message()).find(text) != std::string::npos;
}

server::GroupOptions FakeGroup(const std::vector<const FakeWorker*>& workers) {
  server::GroupOptions options = DemoGroup(static_cast<int>(workers.size()), 1, "");
  for (const FakeWorker* worker : workers) options.workers.push_back(worker->address());
  options.secret = "a secret";
  options.step_timeout = absl::Seconds(1);
  return options;
}

server::Step EmptyStep(uint64_t number) {
  server::Step step{.step = number};
  step.entries.push_back({.sequence = 1, .num_tokens = 1});
  return step;
}

// Signals the worker of rank 1 of a real group and checks that the group comes back, whole.
void CheckRecovery(int signal, const std::string& says) {
  TempDir dir;
  {
    Group group(DemoGroup(2, 1, dir.path()));
    uint64_t first = group.WaitReady();
    GoldenCase golden = DemoGolden()[0];
    CHECK(group.Complete(first, golden.prompt, 64) == golden.output);
    int64_t pid = group.executor().GetStatus().ranks[1].pid;
    auto before = std::chrono::steady_clock::now();
    REQUIRE(kill(static_cast<pid_t>(pid), signal) == 0);
    auto lost = group.WaitLost();
    CHECK(lost.kind == Kind::kLost);
    CHECK(lost.epoch == first);
    CHECK(absl::IsUnavailable(lost.why));
    CHECK(Names(lost.why, "rank 1"));
    CHECK(Names(lost.why, says));
    CHECK(group.WaitReady() == first + 1);
    CHECK(std::chrono::steady_clock::now() - before < std::chrono::seconds(10));
    CHECK(group.Complete(first + 1, golden.prompt, 64) == golden.output);
    server::GroupStatus status = group.executor().GetStatus();
    CHECK(status.restarts == 1);
    CHECK(status.last_loss == lost.why.message());
    CHECK(status.state == server::GroupState::kReady);
    // The weights were still there.
    for (const auto& rank : status.ranks) CHECK(rank.weight_bytes_read == 0);
    auto children = ChildProcesses();
    CHECK(children.size() == 2);
    CHECK(std::find(children.begin(), children.end(), static_cast<int>(pid)) == children.end());
  }
  CHECK(ChildProcesses().empty());
  CHECK(std::filesystem::is_empty(dir.path()));
}

TEST_CASE("a group whose worker is killed with -9 comes back and goes on") {
  CheckRecovery(SIGKILL, "killed by signal 9");
}

TEST_CASE("a group whose worker is stopped comes back and goes on") {
  CheckRecovery(SIGSTOP, "stopped");
}

// A process that has ended stays visible until its parent collects it; mpirun's children go to
// init.
bool Runs(pid_t pid) {
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(stat, text, '\0');  // nothing where the process ends meanwhile
  size_t name_end = text.rfind(')');
  return name_end != std::string::npos && text.substr(name_end, 4).find('Z') == std::string::npos;
}

// The same under mpirun, which ends the whole world when a rank dies; its children are not ours.
void CheckMpiRecovery(int signal) {
  NeedComm("mpi");
  TempDir dir;
  server::GroupOptions options = DemoGroup(2, 1, dir.path());
  options.comm = "mpi";
  options.step_timeout = absl::Seconds(2);
  {
    Group group(options);
    uint64_t first = group.WaitReady();
    auto pid = static_cast<pid_t>(group.executor().GetStatus().ranks[1].pid);
    REQUIRE(kill(pid, signal) == 0);
    CHECK(group.WaitLost().epoch == first);
    CHECK(group.WaitReady() == first + 1);
    GoldenCase golden = DemoGolden()[0];
    CHECK(group.Complete(first + 1, golden.prompt, 64) == golden.output);
    // The weights were still there.
    for (const auto& rank : group.executor().GetStatus().ranks) CHECK(rank.weight_bytes_read == 0);
    CHECK_FALSE(Runs(pid));
  }
  CHECK(ChildProcesses().empty());
  CHECK(std::filesystem::is_empty(dir.path()));
}

TEST_CASE("a group under mpirun whose rank is killed with -9 comes back") {
  CheckMpiRecovery(SIGKILL);
}

TEST_CASE("a group under mpirun whose rank is stopped comes back") { CheckMpiRecovery(SIGSTOP); }

TEST_CASE("a worker that dies in the middle of a step is named, not the peer that misses it") {
  TempDir dir;
  Group group(DemoGroup(2, 1, dir.path()));
  uint64_t epoch = group.WaitReady();
  int64_t pid = group.executor().GetStatus().ranks[0].pid;
  // A prefill that takes a while; its blocks are granted, so that only the death can end it.
  server::Step step{.step = 1};
  server::SequenceStart& start = step.starts.emplace_back();
  start.sequence = 1;
  start.token_ids.assign(64, 5);
  start.prompt_length = 64;
  start.max_tokens = 8;
  step.entries.push_back({.sequence = 1, .num_tokens = 64, .new_blocks = {0, 1, 2, 3, 4}});
  group.executor().Submit(epoch, step);
  kill(static_cast<pid_t>(pid), SIGKILL);
  auto lost = group.WaitLost();
  CHECK(Names(lost.why, "rank 0: was killed"));
  CHECK(group.WaitReady() == epoch + 1);
}

TEST_CASE(
    "a remote worker that is stopped is lost by its silence, and taken back when it goes on") {
  TempDir dir;
  std::string address = "unix:" + (dir.path() / "w").string();
  Process worker(Program("tessera-worker"), {"--listen", address, "--threads", "1"});
  REQUIRE(worker.WaitForLine("listening on"));
  server::GroupOptions options = DemoGroup(1, 1, "");
  options.workers = {address};
  options.step_timeout = absl::Seconds(1);
  options.connect_timeout = absl::Seconds(2);
  Group group(options);
  uint64_t first = group.WaitReady();
  worker.Signal(SIGSTOP);
  auto lost = group.WaitLost();
  CHECK(lost.kind == Kind::kLost);
  CHECK(Names(lost.why, "rank 0 has sent nothing"));
  worker.Signal(SIGCONT);
  uint64_t second = group.WaitReady();
  CHECK(second > first);
  GoldenCase golden = DemoGolden()[1];
  CHECK(group.Complete(second, golden.prompt, 8).size() == 8);
}

TEST_CASE("a remote worker that ends is lost, and taken back when it is started again") {
  TempDir dir;
  std::string address = "unix:" + (dir.path() / "w").string();
  auto worker = std::make_unique<Process>(
      Program("tessera-worker"), std::vector<std::string>{"--listen", address, "--threads", "1"});
  REQUIRE(worker->WaitForLine("listening on"));
  server::GroupOptions options = DemoGroup(1, 1, "");
  options.workers = {address};
  Group group(options);
  uint64_t first = group.WaitReady();
  worker->Signal(SIGKILL);
  auto lost = group.WaitLost();
  CHECK(Names(lost.why, "rank 0"));
  worker = std::make_unique<Process>(
      Program("tessera-worker"), std::vector<std::string>{"--listen", address, "--threads", "1"});
  CHECK(group.WaitReady() > first);
}

TEST_CASE("a group that hangs in a step is lost after the step's time") {
  TempDir dir;
  FakeWorker first(dir.path(), "0", FakeBehaviour::kHangs);
  FakeWorker second(dir.path(), "1", FakeBehaviour::kHangs);
  Group group(FakeGroup({&first, &second}));
  uint64_t epoch = group.WaitReady();
  group.executor().Submit(epoch, EmptyStep(1));
  auto lost = group.WaitLost();
  CHECK(Names(lost.why, "has done nothing for 1s"));
  CHECK(group.WaitReady() == epoch + 1);
}

TEST_CASE("a rank that draws other tokens is caught and named") {
  TempDir dir;
  FakeWorker first(dir.path(), "0", FakeBehaviour::kWorks);
  FakeWorker second(dir.path(), "1", FakeBehaviour::kDiverges);
  Group group(FakeGroup({&first, &second}));
  uint64_t epoch = group.WaitReady();
  group.executor().Submit(epoch, EmptyStep(1));
  auto lost = group.WaitLost();
  CHECK(absl::IsInternal(lost.why));
  CHECK(Names(lost.why, "diverges"));
  CHECK(group.WaitReady() == epoch + 1);
}

TEST_CASE("a step for an epoch that is over is dropped") {
  TempDir dir;
  FakeWorker worker(dir.path(), "0", FakeBehaviour::kWorks);
  Group group(FakeGroup({&worker}));
  uint64_t epoch = group.WaitReady();
  group.executor().Submit(epoch - 1, EmptyStep(1));
  group.executor().Submit(epoch, EmptyStep(2));
  auto event = group.events().Next(kHangLimit);
  REQUIRE(event);
  CHECK(event->kind == Kind::kStep);
  CHECK(event->result.step == 2);
}

TEST_CASE("a worker's program that is missing is refused at once") {
  server::GroupOptions options = DemoGroup(1, 1, "/tmp");
  options.worker_program = "/nonexistent/tessera-worker";
  absl::Status status = server::GroupExecutor::Create(options).status();
  CHECK(absl::IsNotFound(status));
  CHECK(Names(status, "/nonexistent/tessera-worker"));
}

TEST_CASE("a worker that ends at once fails the group after a few tries") {
  TempDir dir;
  server::GroupOptions options = DemoGroup(1, 1, dir.path());
  options.worker_program = "/bin/false";
  Group group(options);
  auto failed = group.WaitLost();
  CHECK(failed.kind == Kind::kFailed);
  CHECK(Names(failed.why, "rank 0: ended with exit code 1"));
  CHECK(std::filesystem::is_empty(dir.path()));
}

// The workers' program, but the first one that starts while `flag` is there removes it and ends.
std::filesystem::path EndsOnce(const std::filesystem::path& folder,
                               const std::filesystem::path& flag) {
  std::filesystem::path program = folder / "ends-once";
  std::ofstream(program) << "#!/bin/sh\nrm " << flag << " 2> /dev/null && exit 7\nexec "
                         << Program("tessera-worker") << " \"$@\"\n";
  std::filesystem::permissions(program, std::filesystem::perms::owner_all);
  return program;
}

TEST_CASE(
    "a worker that is lost while the group is made again is named, and the group comes back") {
  TempDir dir, programs;
  server::GroupOptions options = DemoGroup(2, 1, dir.path());
  const std::filesystem::path flag = programs.path() / "flag";
  options.worker_program = EndsOnce(programs.path(), flag).string();
  Group group(options);
  const uint64_t first = group.WaitReady();
  std::ofstream(flag) << "once";
  REQUIRE(kill(static_cast<pid_t>(group.executor().GetStatus().ranks[1].pid), SIGKILL) == 0);
  const auto lost = group.WaitLost();
  CHECK(lost.kind == Kind::kLost);
  const auto setback = group.events().Next(kHangLimit);
  REQUIRE(setback.has_value());
  CHECK(setback->kind == Kind::kSetback);
  CHECK(setback->epoch == first + 1);
  CHECK(Names(setback->why, "ended with exit code 7"));
  const std::optional<uint32_t> rank = rpc::GetErrorSite(setback->why).rank;
  REQUIRE(rank.has_value());
  CHECK(Names(setback->why, "rank " + std::to_string(*rank)));
  CHECK(group.WaitReady() == first + 2);
  const GoldenCase golden = DemoGolden()[0];
  CHECK(group.Complete(first + 2, golden.prompt, 64) == golden.output);
}

TEST_CASE("a worker that never answers is given up after its time") {
  TempDir dir;
  server::GroupOptions options = DemoGroup(1, 1, dir.path());
  TempDir programs;
  options.worker_program = programs.path() / "silent";
  std::ofstream(options.worker_program) << "#!/bin/sh\nexec sleep 1000\n";
  std::filesystem::permissions(options.worker_program, std::filesystem::perms::owner_all);
  options.connect_timeout = absl::Milliseconds(300);
  Group group(options);
  auto failed = group.WaitLost();
  CHECK(failed.kind == Kind::kFailed);
  CHECK(Names(failed.why, "did not answer within 300ms"));
  CHECK(std::filesystem::is_empty(dir.path()));
}

TEST_CASE("a group can be stopped while it starts") {
  TempDir dir;
  { Group group(DemoGroup(2, 1, dir.path())); }
  CHECK(ChildProcesses().empty());
  CHECK(std::filesystem::is_empty(dir.path()));
}

}  // namespace
}  // namespace tessera::tests
