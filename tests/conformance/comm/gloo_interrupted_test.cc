// A rank that joins over Gloo while its peer is out of reach: told to end, it ends at once.
#include <netinet/in.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstring>
#include <future>

#include "tests/conformance/comm/file_store.h"
#include "tests/support/cut_port.h"
#include "tests/support/fixtures.h"
#include "worker/comm/gloo_communicator.h"

namespace tessera::tests {
namespace {

using namespace std::chrono_literals;

// Far above what ends at once, far below the time that the rank would wait.
constexpr auto kSoon = 30s;
constexpr absl::Duration kTimeout = absl::Seconds(300);

sockaddr_in Loopback(uint16_t port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

// Rank 0 of two, joining on a thread of its own; the test plays rank 1.
class Joining {
 public:
  explicit Joining(const std::string& interface) : theirs_(folder_.path()), ours_(folder_.path()) {
    worker::GlooOptions options;
    options.tp = 2;
    options.timeout = kTimeout;
    options.interface = interface;
    options.store = &theirs_;
    options.interrupter = &interrupter_;
    status_ =
        std::async(std::launch::async, [options] { return worker::ConnectGloo(options).status(); });
  }
  ~Joining() { interrupter_.Interrupt(absl::CancelledError("the test is over")); }

  // Where rank 1 is, in the form in which rank 0 says where it is.
  void Answer(const sockaddr_in& address) {
    const std::string own = ours_.Get("gloo/address/0", absl::Seconds(30)).value();
    std::string answer = own.substr(own.size() / 2) + std::string(own.size() / 2, '\0');
    std::memcpy(answer.data(), &address, sizeof(address));
    REQUIRE(ours_.Set("gloo/address/1", answer).ok());
  }
  void SayReady() { REQUIRE(ours_.Set("gloo/ready/1", "1").ok()); }
  bool WaitsFor(std::chrono::milliseconds time) {
    return status_.wait_for(time) == std::future_status::timeout;
  }
  void AwaitReady() { REQUIRE(ours_.Get("gloo/ready/0", absl::Seconds(30)).ok()); }
  void CheckEndsAtOnce() {
    interrupter_.Interrupt(absl::UnavailableError("the server has gone on"));
    REQUIRE(status_.wait_for(kSoon) == std::future_status::ready);
    const absl::Status status = status_.get();
    INFO(status);
    CHECK(absl::IsCancelled(status));
    CHECK(status.message() == "the server has gone on");
  }

 private:
  TempDir folder_;
  FileStore theirs_, ours_;
  worker::Interrupter interrupter_;
  std::future<absl::Status> status_;
};

void RequireGloo() {
  if (!worker::HasGloo()) SkipTest("this build has no Gloo (libgloo-dev)");
}

// Of two pairs the one with the higher address connects to the other one.
TEST_CASE("a rank that waits for a peer's connection ends when it is interrupted") {
  RequireGloo();
  Joining joining("127.0.0.1");
  joining.Answer(Loopback(0xffff));
  CHECK(joining.WaitsFor(200ms));
  joining.CheckEndsAtOnce();
}

TEST_CASE("a rank that connects over a network that is cut ends when it is interrupted") {
  RequireGloo();
  CutPort port;
  Joining joining("127.0.0.2");
  joining.Answer(port.address());
  CHECK(joining.WaitsFor(200ms));
  joining.CheckEndsAtOnce();
}

TEST_CASE("a rank that waits for a peer's greeting ends when it is interrupted") {
  RequireGloo();
  CutPort port;
  port.Mend();
  Joining joining("127.0.0.2");
  joining.Answer(port.address());
  joining.AwaitReady();
  joining.SayReady();
  CHECK(joining.WaitsFor(200ms));
  joining.CheckEndsAtOnce();
}

TEST_CASE("a rank that is interrupted before it connects does not connect") {
  RequireGloo();
  Joining joining("127.0.0.1");
  joining.Answer(Loopback(0xffff));
  joining.CheckEndsAtOnce();
}

}  // namespace
}  // namespace tessera::tests
