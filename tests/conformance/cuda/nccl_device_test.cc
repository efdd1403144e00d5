// NCCL itself, on one card: two processes that take each other for another host, so that it goes
// over sockets of the loopback device.
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/conformance/comm/file_store.h"
#include "tests/support/fixtures.h"
#include "worker/backend/cuda_library.h"
#include "worker/comm/device_comms.h"
#include "worker/comm/nccl_library.h"
#include "worker/comm/pair_test.h"

namespace tessera::tests {
namespace {

constexpr int kRanks = 2;
constexpr int kNoDevice = 77;

absl::Status Meet(int rank, const std::filesystem::path& folder, int device) {
  const auto backend = worker::MakeCudaBackend("", "cuda", device);
  if (!backend.ok()) return backend.status();
  FileStore store(folder);
  const auto comms = worker::ConnectDevices(
      (*backend)->memory(), "",
      {.store = &store, .rank = rank, .tp = kRanks, .timeout = absl::Seconds(60)});
  if (!comms.ok()) return comms.status();
  const worker::PairTestOptions options{.round_trips = 5, .large_bytes = 1 << 20};
  for (worker::Communicator* comm : {comms->comms.group.get(), comms->comms.tensor.get()}) {
    const auto timings = worker::TestPairs(*comm, options, (*backend)->memory());
    if (!timings.ok()) return timings.status();
    std::printf("rank %d: %.1f us, %.0f MB/s\n", rank, timings->front().latency_us,
                timings->front().bandwidth_mb_s);
  }
  return comms->comms.group->Barrier();
}

// In a process of its own, since the environment is NCCL's and the device's context does not live
// through a fork.
int RunRank(int rank, const std::filesystem::path& folder) {
  const char* settings[][2] = {{"NCCL_SOCKET_IFNAME", "lo"},
                               {"NCCL_IB_DISABLE", "1"},
                               {"NCCL_MAX_CTAS", "1"},
                               {"NCCL_NVLS_ENABLE", "0"}};
  for (const auto& [name, value] : settings) setenv(name, value, 1);
  setenv("NCCL_HOSTID", ("tessera-" + std::to_string(rank)).c_str(), 1);
  const auto facts = worker::FindCuda("");
  const bool nccl = facts.ok() && worker::OpenNccl("", nullptr).ok();
  if (!nccl) return kNoDevice;
  const absl::Status status = Meet(rank, folder, facts->devices.front().index);
  if (!status.ok()) std::fprintf(stderr, "rank %d: %s\n", rank, status.ToString().c_str());
  std::fflush(stdout);
  return status.ok() ? 0 : 1;
}

TEST_CASE("device: two processes on one card exchange over nccl") {
  TempDir folder;
  std::vector<pid_t> children;
  for (int rank = 0; rank < kRanks; ++rank) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) _exit(RunRank(rank, folder.path()));
    children.push_back(child);
  }
  std::vector<int> codes;
  for (pid_t child : children) {
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    codes.push_back(WIFEXITED(status) ? WEXITSTATUS(status) : 128);
  }
  if (codes[0] == kNoDevice) SkipTest("there is no device, or no NCCL");
  CHECK(codes == std::vector<int>{0, 0});
}

}  // namespace
}  // namespace tessera::tests
