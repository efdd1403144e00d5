// Workers that the server does not start itself: secrets, versions, one session at a time.
#include <catch2/catch.hpp>

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <grpcpp/create_channel.h>

#include "internal/v1/worker.grpc.pb.h"
#include "proto/rpc/session_auth.h"
#include "proto/rpc/version.h"
#include "tests/integration/session/fake_worker.h"
#include "tests/integration/session/group_harness.h"
#include "tests/support/process.h"

namespace tessera::tests {
namespace {

namespace v1 = internal::v1;

std::string WriteSecret(const TempDir& dir, const std::string& name, const std::string& secret) {
  std::string path = dir.path() / name;
  std::ofstream(path) << secret << "\n";
  return path;
}

server::GroupOptions RemoteGroup(std::vector<std::string> workers, const std::string& secret) {
  server::GroupOptions options = DemoGroup(static_cast<int>(workers.size()), 1, "");
  options.workers = std::move(workers);
  options.secret = secret;
  options.collective_interface = "lo";
  return options;
}

// The frontend's end of a session, one message after the other.
class RawSession {
 public:
  explicit RawSession(const std::string& address)
      : stub_(
            v1::Worker::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()))) {
    context_.set_deadline(std::chrono::system_clock::now() + kHangLimit);
    stream_ = stub_->Session(&context_);
  }
  ~RawSession() {
    context_.TryCancel();
    if (!finished_) stream_->Finish();
  }

  // False where the worker has ended the session.
  bool Ask(const v1::Command& command, v1::Reply& reply) {
    return stream_->Write(command) && stream_->Read(&reply);
  }
  grpc::Status Finish() {
    finished_ = true;
    return stream_->Finish();
  }
  // The whole handshake; true where the worker welcomes it.
  bool Open(const std::string& secret, uint64_t epoch) {
    rpc::SessionTerms terms{.epoch = epoch, .server_nonce = std::string(32, 's')};
    v1::Command command;
    command.mutable_hello()->set_protocol_version(rpc::kSessionProtocolVersion);
    command.mutable_hello()->set_version(std::string(rpc::Version()));
    command.mutable_hello()->set_epoch(epoch);
    command.mutable_hello()->set_nonce(terms.server_nonce);
    v1::Reply reply;
    if (!Ask(command, reply)) return false;
    terms.worker_nonce = reply.challenge().nonce();
    command.mutable_proof()->set_proof(
        rpc::SessionProof(secret, rpc::SessionRole::kServer, terms).value());
    return Ask(command, reply) && reply.has_welcome();
  }
  // False once the session is over.
  bool Read(v1::Reply& reply) { return stream_->Read(&reply); }

 private:
  std::unique_ptr<v1::Worker::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::Command, v1::Reply>> stream_;
  bool finished_ = false;
};

TEST_CASE("two remote workers over gloo give the golden tokens, one group after another") {
  NeedComm("gloo");
  TempDir dir;
  std::string secret = WriteSecret(dir, "secret", "a secret");
  TcpWorker first(secret);
  TcpWorker second(secret);
  for (int life = 0; life < 2; ++life) {
    Group group(RemoteGroup({first.address(), second.address()}, "a secret"));
    uint64_t epoch = group.WaitReady();
    GoldenCase golden = DemoGolden()[life];
    CHECK(group.Complete(epoch, golden.prompt, 64) == golden.output);
    CHECK(group.executor().GetStatus().comm == "gloo");
  }
}

TEST_CASE("a frontend refuses a worker that does not know its secret") {
  TempDir dir;
  TcpWorker worker(WriteSecret(dir, "secret", "the worker's secret"));
  Group group(RemoteGroup({worker.address()}, "the server's secret"));
  auto event = group.WaitLost();
  CHECK(event.kind == RecordedEvents::Event::Kind::kFailed);
  CHECK(absl::IsUnauthenticated(event.why));
  CHECK(std::string(event.why.message()).find("secret") != std::string::npos);
  // The worker waits for the right one.
  Group right(RemoteGroup({worker.address()}, "the worker's secret"));
  CHECK(right.WaitReady() > 0);
}

TEST_CASE("a worker refuses a frontend that does not know its secret") {
  TempDir dir;
  FakeWorker worker(dir.path(), "w", FakeBehaviour::kWorks);
  RawSession session(worker.address());
  CHECK_FALSE(session.Open("not the secret", 1));
  CHECK(session.Finish().error_code() == grpc::StatusCode::UNAUTHENTICATED);
}

TEST_CASE("a worker refuses a frontend of another version") {
  TempDir dir;
  FakeWorker worker(dir.path(), "w", FakeBehaviour::kOtherVersion);
  RawSession session(worker.address());
  CHECK_FALSE(session.Open("a secret", 1));
  grpc::Status status = session.Finish();
  CHECK(status.error_code() == grpc::StatusCode::FAILED_PRECONDITION);
  CHECK(status.error_message().find("same version") != std::string::npos);
}

TEST_CASE("a group with a worker of another version fails and says so") {
  TempDir dir;
  FakeWorker worker(dir.path(), "w", FakeBehaviour::kOtherVersion);
  Group group(RemoteGroup({worker.address()}, "a secret"));
  auto event = group.WaitLost();
  CHECK(event.kind == RecordedEvents::Event::Kind::kFailed);
  CHECK(absl::IsFailedPrecondition(event.why));
}

TEST_CASE("a worker refuses a session that begins with anything but Hello") {
  TempDir dir;
  FakeWorker worker(dir.path(), "w", FakeBehaviour::kWorks);
  RawSession session(worker.address());
  v1::Command command;
  command.mutable_describe();
  v1::Reply reply;
  CHECK_FALSE(session.Ask(command, reply));
  CHECK(session.Finish().error_code() == grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_CASE("a session with a higher epoch replaces the running one, a lower one is refused") {
  TempDir dir;
  FakeWorker worker(dir.path(), "w", FakeBehaviour::kWorks);
  RawSession fifth(worker.address());
  REQUIRE(fifth.Open("a secret", 5));
  RawSession same(worker.address());
  CHECK_FALSE(same.Open("a secret", 5));
  CHECK(same.Finish().error_code() == grpc::StatusCode::ALREADY_EXISTS);
  RawSession sixth(worker.address());
  CHECK(sixth.Open("a secret", 6));
  v1::Reply reply;
  while (fifth.Read(reply)) CHECK(reply.has_heartbeat());
  v1::Command describe;
  describe.mutable_describe();
  bool described = sixth.Ask(describe, reply);
  while (described && reply.has_heartbeat()) described = sixth.Read(reply);
  CHECK(reply.has_description());
}

TEST_CASE("a rank that cannot load fails a group that never worked, by name") {
  TempDir dir;
  FakeWorker first(dir.path(), "0", FakeBehaviour::kWorks);
  FakeWorker second(dir.path(), "1", FakeBehaviour::kForgets);
  Group group(RemoteGroup({first.address(), second.address()}, "a secret"));
  auto event = group.WaitLost();
  CHECK(event.kind == RecordedEvents::Event::Kind::kFailed);
  CHECK(absl::IsDataLoss(event.why));
  CHECK(std::string(event.why.message()).find("rank 1") == 0);
}

TEST_CASE("ranks that the user has started with mpirun are taken as they are") {
  NeedComm("mpi");
  TempDir dir;
  if (geteuid() == 0) {
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
  }
  Process mpirun("/usr/bin/env",
                 // So many seconds lie between its telling the ranks to end and its killing them.
                 {"mpirun", "--oversubscribe", "--mca", "odls_base_sigkill_timeout", "4", "-n", "2",
                  Program("tessera-worker"), "--comm", "mpi", "--listen",
                  "unix:" + (dir.path() / "rank-%r.sock").string()});
  REQUIRE(mpirun.WaitForLine("rank-0.sock"));
  REQUIRE(mpirun.WaitForLine("rank-1.sock"));
  server::GroupOptions options = RemoteGroup({"unix:" + (dir.path() / "rank-0.sock").string(),
                                              "unix:" + (dir.path() / "rank-1.sock").string()},
                                             "");
  options.comm = "mpi";
  {
    Group group(options);
    uint64_t epoch = group.WaitReady();
    GoldenCase golden = DemoGolden()[0];
    CHECK(group.Complete(epoch, golden.prompt, 64) == golden.output);
  }
  mpirun.Signal(SIGTERM);
  CHECK(mpirun.WaitForExit());
  CHECK(std::filesystem::is_empty(dir.path()));
}

}  // namespace
}  // namespace tessera::tests
