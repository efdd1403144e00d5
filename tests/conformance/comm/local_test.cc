// The suite over ranks as threads of this process.
#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "tests/conformance/comm/cases.h"
#include "worker/comm/local_communicator.h"

namespace tessera::tests {
namespace {

using worker::GroupComms;

template <typename Run>
void OnThreads(int tp, int pp, absl::Duration timeout, Run run) {
  std::vector<GroupComms> comms = worker::MakeLocalComms(tp, pp, timeout);
  std::vector<absl::Status> results(comms.size());
  std::vector<std::thread> threads;
  for (size_t r = 0; r < comms.size(); ++r) {
    threads.emplace_back([&, r] { results[r] = run(comms[r]); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& result : results) CHECK(result.ToString() == "OK");
}

struct Shape {
  int tp, pp;
};
constexpr Shape kShapes[] = {{2, 1}, {3, 1}, {4, 1}, {5, 1}, {8, 1},
                             {2, 2}, {1, 3}, {3, 2}, {2, 4}};

TEST_CASE("ranks as threads do all that a communicator must") {
  for (const CommCase& test : CommCases()) {
    for (const Shape& shape : kShapes) {
      INFO(test.sentence << ", tp " << shape.tp << " pp " << shape.pp);
      OnThreads(shape.tp, shape.pp, absl::Seconds(60), test.run);
    }
  }
}

TEST_CASE("a lone thread is a group too") {
  OnThreads(1, 1, absl::Seconds(60), [](GroupComms& comms) {
    absl::Status status = comms.group->Barrier();
    if (status.ok()) status = CommCases()[9].run(comms);
    return status;
  });
}

TEST_CASE("threads are told the name of the rank that does not come") {
  OnThreads(2, 2, absl::Milliseconds(300),
            [](GroupComms& comms) { return failing::AbsentRank(comms, 2); });
}

TEST_CASE("threads are told the name of the rank that is gone") {
  OnThreads(3, 1, absl::Seconds(60), [](GroupComms& comms) {
    if (comms.group->rank() != 1) return failing::GoneRank(comms, 1);
    comms = {};
    return absl::OkStatus();
  });
}

TEST_CASE("abort ends a thread's wait long before its deadline") {
  std::vector<GroupComms> comms = worker::MakeLocalComms(2, 1, absl::Minutes(10));
  absl::Status waited;
  std::thread waits([&] { waited = comms[0].tensor->Barrier(); });
  comms[0].group->Abort(absl::UnavailableError("the session ended"));
  waits.join();
  CHECK(waited == absl::CancelledError("comm: aborted: the session ended"));
  const absl::Status peer = comms[1].group->Barrier();
  CHECK(absl::IsUnavailable(peer));
  CHECK(std::string(peer.message()).find("the session ended") != std::string::npos);
}

}  // namespace
}  // namespace tessera::tests
