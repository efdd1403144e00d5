// How long small sums take between processes, and how many bytes pass between them. Prints one JSON
// line per measurement; compare `of_memcpy`, the share of this machine's own copying speed, not the
// seconds.
//   comm_bench [KIND...]    two ranks of each kind; default: shm gloo
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "tests/conformance/comm/file_store.h"
#include "tests/support/fixtures.h"
#include "worker/comm/factory.h"
#include "worker/comm/lane_sum.h"
#include "worker/comm/pair_test.h"
#include "worker/comm/shm_communicator.h"
#include "worker/tensor/cpus.h"

extern char** environ;

namespace tessera::tests {
namespace {

using std::chrono::steady_clock;
using worker::Communicator;
using worker::GroupComms;

constexpr int kRanks = 2;

double Seconds(steady_clock::time_point since) {
  return std::chrono::duration<double>(steady_clock::now() - since).count();
}

// Bytes per second that one core copies, from a block that no cache holds.
double MemcpySpeed() {
  const size_t bytes = 64 << 20;
  std::vector<char> from(bytes, 1), to(bytes);
  double best = 0;
  for (int i = 0; i < 5; ++i) {
    const auto start = steady_clock::now();
    std::memcpy(to.data(), from.data(), bytes);
    best = std::max(best, bytes / Seconds(start));
  }
  return best;
}

// The median time of a call, in microseconds, over batches that start together.
double MedianMicroseconds(Communicator& comm, int calls,
                          const std::function<absl::Status()>& call) {
  std::vector<double> times;
  for (int batch = 0; batch < 15; ++batch) {
    if (!comm.Barrier().ok()) return -1;
    const auto start = steady_clock::now();
    for (int i = 0; i < calls; ++i) {
      if (!call().ok()) return -1;
    }
    times.push_back(Seconds(start) / calls * 1e6);
  }
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return times[times.size() / 2];
}

void Print(const std::string& kind, const char* what, size_t bytes, double us) {
  std::printf(
      "{\"bench\":\"comm\",\"kind\":\"%s\",\"ranks\":%d,\"call\":\"%s\",\"bytes\":%zu,\"us\":%.2f}"
      "\n",
      kind.c_str(), kRanks, what, bytes, us);
}

void Gather(const std::string& kind, Communicator& comm, size_t bytes) {
  std::vector<std::byte> all(bytes * kRanks);
  std::vector<absl::Span<std::byte>> recv;
  for (int r = 0; r < kRanks; ++r) recv.push_back(absl::MakeSpan(all).subspan(r * bytes, bytes));
  const double us =
      MedianMicroseconds(comm, 200, [&] { return comm.AllGather(recv[comm.rank()], recv); });
  if (comm.rank() == 0) Print(kind, "all-gather", bytes, us);
}

void Sum(const std::string& kind, Communicator& comm, size_t bytes) {
  const auto tree = shard_loader::LaneTree::ForHeads(32, 8, 8);
  const auto share = tree.Share(kRanks);
  std::vector<float> own(bytes / sizeof(float), 1.0f), out(own.size());
  const std::vector<absl::Span<const float>> roots = {own};
  worker::LaneSumWorkspace workspace;
  const double us = MedianMicroseconds(comm, bytes < 100000 ? 200 : 5, [&] {
    return worker::LaneSum(comm, tree, share, roots, absl::MakeSpan(out), workspace);
  });
  if (comm.rank() == 0) Print(kind, "lane-sum", bytes, us);
}

void Pairs(const std::string& kind, Communicator& comm) {
  worker::PairTestOptions options;
  options.round_trips = 1000;
  options.large_bytes = 32 << 20;
  const double memcpy_speed = comm.rank() == 0 ? MemcpySpeed() : 0;
  const auto timings = worker::TestPairs(comm, options);
  if (!timings.ok() || comm.rank() != 0) return;
  for (const worker::PairTiming& timing : *timings) {
    std::printf(
        "{\"bench\":\"comm\",\"kind\":\"%s\",\"ranks\":%d,\"call\":\"send\",\"bytes\":%zu,"
        "\"latency_us\":%.2f,\"mb_s\":%.0f,\"of_memcpy\":%.3f}\n",
        kind.c_str(), kRanks, options.large_bytes, timing.latency_us, timing.bandwidth_mb_s,
        timing.bandwidth_mb_s * 1e6 / memcpy_speed);
  }
}

int RunRank(const std::string& kind, int rank, const std::string& folder) {
  // A CPU each, as a server gives its ranks: else the system may leave both on one for a while.
  const std::vector<int> cpus = worker::AllowedCpus();
  worker::PinThisThread(cpus[rank % cpus.size()]);
  FileStore store(folder);
  worker::CommOptions options;
  options.kind = kind;
  options.rank = rank;
  options.tp = kRanks;
  options.shm_fd = 3;
  options.interface = "127.0.0.1";
  options.store = &store;
  auto comms = worker::ConnectGroup(options);
  if (!comms.ok()) {
    std::fprintf(stderr, "comm_bench: %s\n", comms.status().ToString().c_str());
    return 1;
  }
  for (size_t bytes : {64, 8192}) Gather(kind, *comms->tensor, bytes);
  for (size_t bytes : {8192, 1 << 20, 8 << 20}) Sum(kind, *comms->tensor, bytes);
  Pairs(kind, *comms->tensor);
  std::fflush(stdout);
  return comms->tensor->Barrier().ok() ? 0 : 1;
}

int RunKind(const std::string& program, const std::string& kind) {
  TempDir folder;
  const int made = worker::CreateShmRegion().value();
  const int region = dup2(made, 100);  // clear of the number that the ranks know it by
  close(made);
  std::vector<pid_t> pids;
  for (int rank = 0; rank < kRanks; ++rank) {
    std::vector<std::string> words = {program, "rank", kind, std::to_string(rank), folder.path()};
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, region, 3);
    pid_t pid = -1;
    if (posix_spawn(&pid, program.c_str(), &actions, nullptr, argv.data(), environ) == 0) {
      pids.push_back(pid);
    }
    posix_spawn_file_actions_destroy(&actions);
  }
  close(region);
  int failed = kRanks - static_cast<int>(pids.size());
  for (pid_t pid : pids) {
    int status = 0;
    waitpid(pid, &status, 0);
    failed += !WIFEXITED(status) || WEXITSTATUS(status) != 0;
  }
  return failed;
}

}  // namespace
}  // namespace tessera::tests

int main(int argc, char** argv) {
  using tessera::tests::RunKind;
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() == 4 && words[0] == "rank") {
    return tessera::tests::RunRank(words[1], std::atoi(words[2].c_str()), words[3]);
  }
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  int failed = 0;
  for (const std::string& kind : words.empty() ? std::vector<std::string>{"shm", "gloo"} : words) {
    failed += RunKind(self, kind);
  }
  return failed == 0 ? 0 : 1;
}
