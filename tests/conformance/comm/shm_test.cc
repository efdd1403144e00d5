// The suite over ranks as processes that share memory.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "tests/conformance/comm/cases.h"
#include "tests/conformance/comm/rank_processes.h"
#include "worker/comm/shm_communicator.h"
#include "worker/comm/shm_region.h"

namespace tessera::tests {
namespace {

struct Shape {
  int tp, pp;
};

void RunSuite(int tp, int pp) {
  for (const CommCase& test : CommCases()) {
    INFO(test.sentence);
    const GroupResult result = RunGroup({.kind = "shm", .tp = tp, .pp = pp, .test = test.name});
    INFO(result.output);
    CHECK(result.ok);
  }
}

TEST_CASE("two processes on shared memory do all that a communicator must") { RunSuite(2, 1); }
TEST_CASE("three processes on shared memory do all that a communicator must") { RunSuite(3, 1); }
TEST_CASE("stages of processes on shared memory do all that a communicator must") {
  RunSuite(2, 2);
}
TEST_CASE("eight processes on shared memory do all that a communicator must") { RunSuite(8, 1); }

TEST_CASE("a stopped process is named by those that share memory with it") {
  const GroupResult result =
      RunGroup({.kind = "shm", .tp = 3, .timeout_ms = 700, .test = "stopped", .victim = 2});
  INFO(result.output);
  CHECK(result.ok);
}

TEST_CASE("a killed process is noticed by those that share memory with it") {
  const GroupResult result =
      RunGroup({.kind = "shm", .tp = 2, .pp = 2, .test = "killed", .victim = 3});
  INFO(result.output);
  CHECK(result.ok);
}

TEST_CASE("a process that leaves the shared memory is gone for the others") {
  const GroupResult result = RunGroup({.kind = "shm", .tp = 3, .test = "leaves"});
  INFO(result.output);
  CHECK(result.ok);
}

TEST_CASE("joining on shared memory names the ranks that do not come") {
  const GroupResult result =
      RunGroup({.kind = "shm", .tp = 4, .timeout_ms = 300, .test = "nothing", .start = 2});
  CHECK_FALSE(result.ok);
  CHECK(result.output.find("DEADLINE_EXCEEDED") != std::string::npos);
  CHECK(result.output.find("2, 3") != std::string::npos);
}

// Joins as rank 0 with a region whose bytes were tampered with.
std::string JoinAfter(int tp, void (*tamper)(int fd)) {
  const int fd = worker::CreateShmRegion().value();
  tamper(fd);
  const auto comms = worker::ConnectShm(fd, 0, tp, 1, absl::Milliseconds(100));
  close(fd);
  return comms.status().ToString();
}

void WriteSlot(int fd, int rank, uint64_t magic, uint32_t tp) {
  auto region = worker::ShmRegion::Map(fd, 2).value();
  region.slot(rank).tp = tp;
  region.slot(rank).pp = 1;
  region.slot(rank).pid = getpid();
  region.slot(rank).joined.store(magic);
}

TEST_CASE("a region that is not this group's is refused") {
  CHECK(JoinAfter(2, [](int fd) { CHECK(ftruncate(fd, 4096) == 0); }).find("has 4096 bytes") !=
        std::string::npos);
  CHECK(JoinAfter(3, [](int fd) { WriteSlot(fd, 1, 1, 2); }).find("made for another group") !=
        std::string::npos);
  CHECK(JoinAfter(2, [](int fd) { WriteSlot(fd, 1, 12345, 2); }).find("runs another version") !=
        std::string::npos);
  CHECK(JoinAfter(2, [](int fd) {
          WriteSlot(fd, 1, worker::kShmMagic, 1);
        }).find("joined a group of tp 1") != std::string::npos);
  CHECK(JoinAfter(2, [](int fd) { WriteSlot(fd, 0, worker::kShmMagic, 2); }).find("joined with") !=
        std::string::npos);
  CHECK(JoinAfter(2, [](int fd) { WriteSlot(fd, 1, worker::kShmMagic, 2); }) == "OK");
}

TEST_CASE("counts in the shared memory are never used beyond its bounds") {
  const int fd = worker::CreateShmRegion().value();
  WriteSlot(fd, 1, worker::kShmMagic, 2);
  auto comms = worker::ConnectShm(fd, 0, 2, 1, absl::Seconds(10)).value();
  auto region = worker::ShmRegion::Map(fd, 2).value();
  // Every word of the rings, control blocks included, claims to be far on.
  memset(region.rings(), 0x7F, worker::ShmRegionBytes(2) - 2 * sizeof(worker::ShmRankSlot));
  const absl::Status status = comms.group->Barrier();
  CHECK(absl::IsInternal(status));
  close(fd);
}

}  // namespace
}  // namespace tessera::tests
