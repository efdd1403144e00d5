// The least that gRPC takes between two processes of this machine, over a unix socket: a round trip
// on an open stream, as a session with a worker is, and messages one way. JSON lines.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "internal/v1/worker.grpc.pb.h"
#include "tests/support/fixtures.h"

namespace tessera::tests {
namespace {

namespace v1 = internal::v1;
using std::chrono::steady_clock;

constexpr int kRoundTrips = 200, kBatches = 15, kOneWay = 20000;

double Microseconds(steady_clock::time_point since) {
  return std::chrono::duration<double, std::micro>(steady_clock::now() - since).count();
}

// Answers each command with a heartbeat; Describe with many, as a server streams tokens.
class Echo : public v1::Worker::Service {
  grpc::Status Session(grpc::ServerContext*,
                       grpc::ServerReaderWriter<v1::Reply, v1::Command>* stream) override {
    v1::Command command;
    v1::Reply reply;
    reply.mutable_heartbeat();
    while (stream->Read(&command)) {
      for (int i = command.has_describe() ? kOneWay : 1; i > 0; --i) {
        if (!stream->Write(reply)) return grpc::Status::OK;
      }
    }
    return grpc::Status::OK;
  }
};

[[noreturn]] void Serve(const std::string& address) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  Echo echo;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials());
  builder.RegisterService(&echo);
  const auto server = builder.BuildAndStart();
  if (server == nullptr) _exit(1);
  server->Wait();
  _exit(0);
}

void Print(const char* limit, double value, const char* unit) {
  std::printf(
      "{\"bench\": \"limits\", \"limit\": \"%s\", \"threads\": 2, \"value\": %.2f, \"unit\": "
      "\"%s\"}\n",
      limit, value, unit);
}

int Measure(const std::string& address) {
  const auto channel = grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
  if (!channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(10))) {
    std::fprintf(stderr, "grpc_bench: no connection to %s\n", address.c_str());
    return 1;
  }
  grpc::ClientContext context;
  const auto stream = v1::Worker::NewStub(channel)->Session(&context);
  v1::Command command;
  v1::Reply reply;
  std::vector<double> times;
  for (int batch = 0; batch < kBatches; ++batch) {
    const auto start = steady_clock::now();
    for (int i = 0; i < kRoundTrips; ++i) {
      if (!stream->Write(command) || !stream->Read(&reply)) return 1;
    }
    times.push_back(Microseconds(start) / kRoundTrips);
  }
  std::nth_element(times.begin(), times.begin() + kBatches / 2, times.end());
  Print("gRPC round trip", times[kBatches / 2], "us");
  command.mutable_describe();
  const auto start = steady_clock::now();
  if (!stream->Write(command)) return 1;
  for (int i = 0; i < kOneWay; ++i) {
    if (!stream->Read(&reply)) return 1;
  }
  Print("gRPC message of a stream", Microseconds(start) / kOneWay, "us");
  stream->WritesDone();
  return stream->Finish().ok() ? 0 : 1;
}

int Main() {
  const TempDir folder;
  const std::string address = "unix:" + (folder.path() / "socket").string();
  const pid_t child = fork();  // before gRPC has threads
  if (child == 0) Serve(address);
  const int failed = Measure(address);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  return failed;
}

}  // namespace
}  // namespace tessera::tests

int main() { return tessera::tests::Main(); }
