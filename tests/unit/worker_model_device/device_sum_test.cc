#include "worker/model/device_sum.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <thread>
#include <vector>

#include "worker/backend/kernel_sets.h"
#include "worker/comm/lane_sum.h"
#include "worker/comm/local_communicator.h"

namespace tessera::tests {
namespace {

using shard_loader::LaneTree;
using worker::LaneSumWorkspace;

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

std::vector<float> Sum(int degree, int64_t count, bool on_device) {
  const LaneTree tree = LaneTree::ForColumns(4096, 8);
  const auto lanes = tree.Share(degree);
  auto group = worker::MakeLocalGroup(degree, absl::Seconds(20));
  std::vector<std::vector<float>> outputs(degree, std::vector<float>(count));
  std::vector<absl::Status> status(degree);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < degree; ++rank) {
    threads.emplace_back([&, rank] {
      const int64_t roots = static_cast<int64_t>(tree.MaximalSubtrees(lanes[rank]).size());
      const std::vector<float> own = Numbers(rank, roots * count);
      LaneSumWorkspace workspace;
      if (on_device) {
        std::vector<float> scratch(LaneSumWorkspace::Bytes(tree, lanes, rank, count) / 4);
        auto backend = *worker::MakeBackend("generic", 1);
        status[rank] = worker::DeviceSum(
            {&tree, lanes, own.data(), count, outputs[rank].data(), absl::MakeSpan(scratch)},
            *backend, *group[rank]);
        return;
      }
      std::vector<absl::Span<const float>> spans;
      for (int64_t r = 0; r < roots; ++r) spans.emplace_back(own.data() + r * count, count);
      status[rank] = worker::LaneSum(*group[rank], tree, lanes, spans,
                                     absl::MakeSpan(outputs[rank]), workspace);
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

TEST_CASE("a sum that the backend finishes has the bits of the host's, one-shot and two-shot") {
  for (int degree : {2, 3, 5, 8}) {
    for (int64_t count : {1, 1000, 8191, 8192, 20001}) {
      INFO("degree " << degree << ", " << count << " floats");
      const std::vector<float> host = Sum(degree, count, false);
      const std::vector<float> device = Sum(degree, count, true);
      CHECK(std::memcmp(host.data(), device.data(), count * sizeof(float)) == 0);
    }
  }
}

TEST_CASE("scratch that is too small is refused") {
  const LaneTree tree = LaneTree::ForColumns(4096, 8);
  auto group = worker::MakeLocalGroup(2, absl::Seconds(1));
  auto backend = *worker::MakeBackend("generic", 1);
  const auto shared = tree.Share(2);
  std::vector<float> own(100), output(100);
  CHECK(worker::DeviceSum({&tree, shared, own.data(), 100, output.data(), {}}, *backend, *group[0])
            .code() == absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace tessera::tests
