// NCCL among threads of one process, on host memory, that delays, fails or hangs where it is told
// to.
#ifndef TESSERA_TESTS_UNIT_WORKER_COMM_NCCL_FAKE_NCCL_H_
#define TESSERA_TESTS_UNIT_WORKER_COMM_NCCL_FAKE_NCCL_H_

#include <atomic>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "worker/comm/key_value_store.h"
#include "worker/comm/nccl_api.h"

namespace tessera::tests {

inline constexpr int kFakeError = 3;  // ncclInternalError

// What the ranks share: messages on their way, and the values of the store.
struct FakeWorld {
  std::mutex mutex;
  std::map<std::tuple<std::string, int, int>, std::deque<std::vector<std::byte>>> pipes;
  std::map<std::string, std::string> values;
  int next_id = 1;
};

struct FakeFaults {
  int polls_in_progress = 0;  // every state is "in progress" so many times before it is success
  int fail_init = 0;          // the result of the n-th Init, from 1
  int fail_exchange = 0;      // the state goes bad in the n-th group of operations
  bool hang_init = false;
  bool hang_exchange = false;
  bool fail_stream = false;
};

class FakeNccl final : public worker::NcclApi {
 public:
  FakeNccl(FakeWorld* world, FakeFaults faults) : world_(world), faults_(faults) {}

  int aborts = 0;
  int destroys = 0;

  int NewId(worker::NcclId* id) override {
    std::lock_guard lock(world_->mutex);
    *id = {};
    std::string text = std::to_string(world_->next_id++);
    std::memcpy(id->data(), text.data(), text.size());
    return worker::kNcclSuccess;
  }
  int Init(const worker::NcclId& id, int, int rank, void** comm) override {
    if (faults_.fail_init == ++inits_) return kFakeError;
    *comm = new Comm{id.data(), rank};
    polls_ = 0;
    return worker::kNcclInProgress;
  }
  int State(void*, int* state) override {
    *state = worker::kNcclSuccess;
    if (polls_++ < faults_.polls_in_progress) *state = worker::kNcclInProgress;
    if (faults_.hang_init && groups_ == 0) *state = worker::kNcclInProgress;
    if (faults_.fail_exchange != 0 && faults_.fail_exchange == groups_) *state = kFakeError;
    return worker::kNcclSuccess;
  }
  int Destroy(void* comm) override {
    ++destroys;
    delete static_cast<Comm*>(comm);
    return worker::kNcclSuccess;
  }
  int Abort(void* comm) override {
    ++aborts;
    wanted_.clear();
    delete static_cast<Comm*>(comm);
    return worker::kNcclSuccess;
  }
  int GroupStart() override {
    ++groups_;
    polls_ = 0;
    return worker::kNcclSuccess;
  }
  int GroupEnd() override { return worker::kNcclInProgress; }
  int Send(void* comm, const std::byte* from, size_t bytes, int peer) override {
    const Comm& own = *static_cast<Comm*>(comm);
    std::lock_guard lock(world_->mutex);
    world_->pipes[{own.id, own.rank, peer}].emplace_back(from, from + bytes);
    return worker::kNcclSuccess;
  }
  int Recv(void* comm, std::byte* to, size_t bytes, int peer) override {
    wanted_.push_back({*static_cast<Comm*>(comm), to, bytes, peer});
    return worker::kNcclSuccess;
  }
  int Copy(const std::byte* from, size_t bytes, std::byte* to) override {
    std::memcpy(to, from, bytes);
    return 0;
  }
  Stream Query(std::string* error) override {
    if (faults_.fail_stream) {
      *error = "an illegal memory access was encountered";
      return Stream::kFailed;
    }
    if (faults_.hang_exchange) return Stream::kBusy;
    std::lock_guard lock(world_->mutex);
    while (!wanted_.empty()) {
      const Wanted& next = wanted_.front();
      auto& pipe = world_->pipes[{next.comm.id, next.peer, next.comm.rank}];
      if (pipe.empty()) return Stream::kBusy;
      if (pipe.front().size() != next.bytes) {
        *error = "sizes differ";
        return Stream::kFailed;
      }
      std::memcpy(next.to, pipe.front().data(), next.bytes);
      pipe.pop_front();
      wanted_.pop_front();
    }
    return Stream::kDone;
  }
  std::string ErrorText(int result) override {
    return result == kFakeError ? "internal error - please report" : "?";
  }
  std::string Version() override { return "0.0.0"; }

 private:
  struct Comm {
    std::string id;
    int rank;
  };
  struct Wanted {
    Comm comm;
    std::byte* to;
    size_t bytes;
    int peer;
  };
  FakeWorld* const world_;
  const FakeFaults faults_;
  int inits_ = 0;
  int groups_ = 0;
  int polls_ = 0;
  std::deque<Wanted> wanted_;
};

class FakeStore final : public worker::KeyValueStore {
 public:
  explicit FakeStore(FakeWorld* world) : world_(world) {}
  absl::Status Set(const std::string& key, const std::string& value) override {
    std::lock_guard lock(world_->mutex);
    world_->values[key] = value;
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> Get(const std::string& key, absl::Duration timeout) override {
    const absl::Time deadline = absl::Now() + timeout;
    while (absl::Now() < deadline) {
      std::lock_guard lock(world_->mutex);
      auto found = world_->values.find(key);
      if (found != world_->values.end()) return found->second;
    }
    return absl::DeadlineExceededError("nobody has set " + key);
  }

 private:
  FakeWorld* const world_;
};

}  // namespace tessera::tests

#endif  // TESSERA_TESTS_UNIT_WORKER_COMM_NCCL_FAKE_NCCL_H_
