#include "worker/model/staged_communicator.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <thread>
#include <vector>

#include "tests/unit/worker_model_device/far_memory.h"
#include "worker/comm/local_communicator.h"

namespace tessera::tests {
namespace {

TEST_CASE("what lies on a device is exchanged by way of the host") {
  auto group = worker::MakeLocalGroup(2, absl::Seconds(20));
  std::vector<std::vector<int>> results(2);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < 2; ++rank) {
    threads.emplace_back([&, rank] {
      FarMemory memory;
      auto staged = worker::StageThroughHost(group[rank].get(), &memory);
      const std::vector<int> own = {10 + rank, 20 + rank};
      std::byte* data = memory.Place(own.data(), 8);
      std::byte* all = memory.Room(16);
      std::vector<absl::Span<std::byte>> recv = {{all, 8}, {all + 8, 8}};
      bool good = staged->AllGather({data, 8}, recv).ok();
      std::byte* swapped = memory.Room(8);
      std::vector<absl::Span<const std::byte>> send = {{data, 4}, {data + 4, 4}};
      recv = {{swapped, 4}, {swapped + 4, 4}};
      good = good && staged->AllToAll(send, recv).ok();
      std::byte* note = memory.Room(4);
      good =
          good && (rank == 0 ? staged->Send(1, 5, {data, 4}) : staged->Recv(0, 5, {note, 4})).ok();
      results[rank] = memory.Read(all, 4);
      for (int value : memory.Read(swapped, 2)) results[rank].push_back(value);
      results[rank].push_back(good ? memory.Read(note, 1)[0] : -1);
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(results[0] == std::vector<int>{10, 20, 11, 21, 10, 11, 0});
  CHECK(results[1] == std::vector<int>{10, 20, 11, 21, 20, 21, 10});
}

}  // namespace
}  // namespace tessera::tests
