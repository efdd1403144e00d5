#include "worker/app/pair_check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "shard_loader/status_macros.h"
#include "worker/app/session_store.h"
#include "worker/backend/cuda_library.h"
#include "worker/comm/device_comms.h"
#include "worker/comm/factory.h"
#include "worker/comm/nccl_library.h"
#include "worker/comm/pair_test.h"

namespace tessera::worker {
namespace {

constexpr absl::Duration kTimeout = absl::Seconds(10);

using Timings = absl::StatusOr<std::vector<PairTiming>>;

Timings TestRank(const CommOptions& options) {
  ASSIGN_OR_RETURN(GroupComms comms, ConnectGroup(options));
  return TestPairs(*comms.group, PairTestOptions());
}

// What a rank of the test is given.
struct RankPlace {
  int rank = 0;
  int fd = -1;  // of shared memory
  KeyValueStore* store = nullptr;
};

// All ranks as threads of this process.
Timings TestThreads(int num_ranks, const std::function<Timings(const RankPlace&)>& test) {
  std::vector<std::unique_ptr<SessionStore>> stores(num_ranks);
  std::vector<Timings> results(num_ranks);
  int fd = memfd_create("tessera-comm", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return absl::ErrnoToStatus(errno, "memfd_create");
  for (int rank = 0; rank < num_ranks; ++rank) {
    // As the frontend does it: an entry of one rank goes to all others.
    stores[rank] = std::make_unique<SessionStore>(
        [&stores, rank](const std::string& key, const std::string& value) {
          bool put = true;
          for (size_t other = 0; other < stores.size(); ++other) {
            if (static_cast<int>(other) != rank) put &= stores[other]->Put(key, value).ok();
          }
          return put;
        });
  }
  std::vector<std::thread> threads;
  for (int rank = 0; rank < num_ranks; ++rank) {
    threads.emplace_back([&, rank] { results[rank] = test({rank, fd, stores[rank].get()}); });
  }
  for (std::thread& thread : threads) thread.join();
  close(fd);
  for (const auto& result : results) RETURN_IF_ERROR(result.status());
  return results[0];
}

Timings TestHost(const std::string& kind, int num_ranks) {
  return TestThreads(num_ranks, [&](const RankPlace& place) {
    CommOptions options{.kind = kind, .rank = place.rank, .tp = num_ranks, .timeout = kTimeout};
    options.shm_fd = place.fd;
    options.store = place.store;
    return TestRank(options);
  });
}

Timings TestDevice(const std::string& plugin_dir, int device, int num_ranks,
                   const RankPlace& place) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Backend> backend,
                   MakeCudaBackend(plugin_dir, "cuda", device));
  ASSIGN_OR_RETURN(
      const DeviceComms comms,
      ConnectDevices(
          backend->memory(), plugin_dir,
          {.store = place.store, .rank = place.rank, .tp = num_ranks, .timeout = kTimeout}));
  return TestPairs(*comms.comms.group, PairTestOptions(), backend->memory());
}

nlohmann::json Report(const std::string& comm, int num_ranks, const Timings& timings) {
  nlohmann::json report = nlohmann::json::array();
  if (!timings.ok()) {
    std::vector<int> ranks(num_ranks);
    std::iota(ranks.begin(), ranks.end(), 0);
    report.push_back({{"comm", comm},
                      {"ranks", ranks},
                      {"ok", false},
                      {"detail", std::string(timings.status().message())}});
    return report;
  }
  for (const PairTiming& pair : *timings) {
    report.push_back(
        {{"comm", comm},
         {"ranks", {pair.a, pair.b}},
         {"ok", true},
         {"detail", absl::StrFormat("%.1f us, %.0f MB/s", pair.latency_us, pair.bandwidth_mb_s)}});
  }
  return report;
}

// All ranks as processes of an MPI world; rank 0 prints the report.
nlohmann::json TestMpirun(const PairCheckOptions& options) {
  if (geteuid() == 0) {
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
  }
  std::string command =
      absl::StrCat("timeout 30 mpirun --oversubscribe --bind-to none -n ", options.num_ranks, " '",
                   options.program, "' --comm mpi --self-check --pairs ", options.num_ranks);
  if (!options.backend_dir.empty()) {
    absl::StrAppend(&command, " --backend-dir '", options.backend_dir, "'");
  }
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) {
    return Report("mpi", options.num_ranks, absl::ErrnoToStatus(errno, "cannot start mpirun"));
  }
  std::string output;
  std::array<char, 4096> bytes;
  while (size_t count = fread(bytes.data(), 1, bytes.size(), pipe)) {
    output.append(bytes.data(), count);
  }
  int status = pclose(pipe);
  nlohmann::json report = nlohmann::json::parse(output, nullptr, /*allow_exceptions=*/false);
  if (status == 0 && report.is_array()) return report;
  return Report("mpi", options.num_ranks,
                absl::UnavailableError(absl::StrCat("mpirun -n ", options.num_ranks, ": ",
                                                    output.substr(0, output.find('\n')))));
}

// Empty where there are not two devices, or no NCCL.
nlohmann::json CheckDevicePairs(const PairCheckOptions& options) {
  const absl::StatusOr<CudaFacts> cuda = FindCuda(options.backend_dir);
  if (!cuda.ok() || cuda->devices.size() < 2) return nlohmann::json::array();
  if (!OpenNccl(options.backend_dir, nullptr).ok()) return nlohmann::json::array();
  const int ranks = static_cast<int>(cuda->devices.size());
  return Report("nccl", ranks, TestThreads(ranks, [&](const RankPlace& place) {
                  return TestDevice(options.backend_dir, cuda->devices[place.rank].index, ranks,
                                    place);
                }));
}

}  // namespace

nlohmann::json CheckPairs(const PairCheckOptions& options) {
  nlohmann::json pairs = nlohmann::json::array();
  for (const std::string& comm : AvailableComms(options.backend_dir)) {
    nlohmann::json report =
        comm == "mpi" ? TestMpirun(options)
                      : Report(comm, options.num_ranks, TestHost(comm, options.num_ranks));
    for (nlohmann::json& entry : report) pairs.push_back(std::move(entry));
  }
  for (nlohmann::json& entry : CheckDevicePairs(options)) pairs.push_back(std::move(entry));
  return pairs;
}

nlohmann::json CheckMpiPairs(int rank, const PairCheckOptions& options) {
  return Report("mpi", options.num_ranks,
                TestRank({.kind = "mpi",
                          .rank = rank,
                          .tp = options.num_ranks,
                          .timeout = kTimeout,
                          .plugin_dir = options.backend_dir}));
}

}  // namespace tessera::worker
