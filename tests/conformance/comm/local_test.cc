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

void RunSuite(int tp, int pp) {
  for (const CommCase& test : CommCases()) {
    INFO(test.sentence);
    OnThreads(tp, pp, absl::Seconds(60), test.run);
  }
}

TEST_CASE("two threads do all that a communicator must") { RunSuite(2, 1); }
TEST_CASE("three threads do all that a communicator must") { RunSuite(3, 1); }
TEST_CASE("eight threads do all that a communicator must") { RunSuite(8, 1); }
TEST_CASE("stages of threads do all that a communicator must") { RunSuite(3, 2); }
TEST_CASE("stages of one thread each do all that a communicator must") { RunSuite(1, 4); }

absl::Status SumLanes(GroupComms& comms) {
  for (const CommCase& test : CommCases()) {
    if (test.name == "lanes") return test.run(comms);
  }
  return absl::NotFoundError("lanes");
}

TEST_CASE("lanes sum to the same bits over one to eight threads") {
  for (int tp = 1; tp <= 8; ++tp) OnThreads(tp, 1, absl::Seconds(60), SumLanes);
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
