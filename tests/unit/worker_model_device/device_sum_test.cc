#include "worker/model/device_sum.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <numeric>
#include <thread>
#include <vector>

#include "worker/backend/kernel_sets.h"
#include "worker/comm/lane_sum.h"
#include "worker/comm/local_communicator.h"

namespace tessera::tests {
namespace {

using shard_loader::LaneTree;
using worker::LaneSumWorkspace;
using worker::SharedLanes;

// Numbers whose sums round: their order shows in the bits.
std::vector<float> Numbers(int rank, int64_t count) {
  std::vector<float> values(count);
  uint32_t state = 77u + static_cast<uint32_t>(rank);
  for (float& value : values) {
    state = state * 1664525u + 1013904223u;
    value = static_cast<float>(static_cast<int32_t>(state)) * 1e-6f;
  }
  return values;
}

// Of one tree, or of two side by side.
std::vector<float> Sum(int degree, int64_t count, size_t sums, bool on_device) {
  const LaneTree trees[] = {LaneTree::ForColumns(4096, 8), LaneTree::ForHeads(14, 2, 8)};
  const std::vector<shard_loader::Range> lanes[] = {trees[0].Share(degree), trees[1].Share(degree)};
  std::vector<SharedLanes> shared;
  for (size_t s = 0; s < sums; ++s) shared.push_back({&trees[s], lanes[s]});
  auto group = worker::MakeLocalGroup(degree, absl::Seconds(20));
  std::vector<std::vector<float>> outputs(degree, std::vector<float>(count * sums));
  std::vector<absl::Status> status(degree);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < degree; ++rank) {
    threads.emplace_back([&, rank] {
      std::vector<int64_t> roots;
      for (size_t s = 0; s < sums; ++s) {
        roots.push_back(static_cast<int64_t>(trees[s].MaximalSubtrees(lanes[s][rank]).size()));
      }
      const std::vector<float> own =
          Numbers(rank, std::accumulate(roots.begin(), roots.end(), int64_t{0}) * count);
      LaneSumWorkspace workspace;
      if (on_device) {
        std::vector<float> scratch(LaneSumWorkspace::Bytes(shared, rank, count) / 4);
        auto backend = *worker::MakeBackend("generic", 1);
        status[rank] = worker::DeviceSum(
            {shared, own.data(), count, outputs[rank].data(), absl::MakeSpan(scratch)}, *backend,
            *group[rank]);
        return;
      }
      std::vector<std::vector<absl::Span<const float>>> spans(sums);
      std::vector<worker::LaneSumPart> parts;
      const float* next = own.data();
      for (size_t s = 0; s < sums; ++s) {
        for (int64_t r = 0; r < roots[s]; ++r, next += count) spans[s].emplace_back(next, count);
        parts.push_back({shared[s], spans[s]});
      }
      status[rank] =
          worker::LaneSums(*group[rank], parts, absl::MakeSpan(outputs[rank]), workspace);
    });
  }
  for (auto& thread : threads) thread.join();
  for (int rank = 0; rank < degree; ++rank) {
    INFO(status[rank].ToString());
    CHECK(status[rank].ok());
    CHECK(outputs[rank] == outputs[0]);
  }
  return outputs[0];
}

TEST_CASE("sums that the backend finishes have the bits of the host's, one-shot and two-shot") {
  for (int degree : {2, 3, 5, 7}) {
    for (size_t sums : {1, 2}) {
      for (int64_t count : {1, 1000, 4095, 4096, 8191, 8192, 20001}) {
        INFO("degree " << degree << ", " << sums << " sums of " << count << " floats");
        const std::vector<float> host = Sum(degree, count, sums, false);
        const std::vector<float> device = Sum(degree, count, sums, true);
        CHECK(std::memcmp(host.data(), device.data(), host.size() * sizeof(float)) == 0);
      }
    }
  }
}

TEST_CASE("scratch that is too small is refused") {
  const LaneTree tree = LaneTree::ForColumns(4096, 8);
  auto group = worker::MakeLocalGroup(2, absl::Seconds(1));
  auto backend = *worker::MakeBackend("generic", 1);
  const auto shared = tree.Share(2);
  std::vector<float> own(100), output(100);
  CHECK(worker::DeviceSum({{{&tree, shared}}, own.data(), 100, output.data(), {}}, *backend,
                          *group[0])
            .code() == absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace tessera::tests
