#include "worker/comm/nccl_communicator.h"

#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "shard_loader/mutex.h"
#include "shard_loader/status_macros.h"

namespace tessera::worker {
namespace {

using std::chrono::steady_clock;

// Between two looks at what goes on: short, then ever longer.
class Nap {
 public:
  void Take() {
    const timespec time = {0, next_};
    nanosleep(&time, nullptr);
    next_ = std::min(next_ * 2, kLongest);
  }

 private:
  static constexpr long kLongest = 500'000;
  long next_ = 1'000;  // nanoseconds
};

// What the communicators of one rank share: whether they are broken. Thread-safe.
class Health {
 public:
  absl::Status error() {
    if (!broken_.load(std::memory_order_acquire)) return absl::OkStatus();
    MutexLock lock(mutex_);
    return error_;
  }
  // The first error stays.
  absl::Status Break(absl::Status status) {
    MutexLock lock(mutex_);
    if (error_.ok()) error_ = std::move(status);
    broken_.store(true, std::memory_order_release);
    return error_;
  }

 private:
  std::atomic<bool> broken_{false};
  Mutex mutex_;
  absl::Status error_ ABSL_GUARDED_BY(mutex_);
};

// One NCCL communicator, from joining to its end. Used by one thread; the waits end when `health`
// breaks.
class NcclGroup {
 public:
  NcclGroup(NcclApi* api, std::shared_ptr<Health> health, int rank, int size,
            absl::Duration timeout)
      : api_(api), health_(std::move(health)), rank_(rank), size_(size), timeout_(timeout) {}
  ~NcclGroup() { End(); }

  absl::Status Join(const NcclId& id) {
    const auto deadline = Deadline();
    RETURN_IF_ERROR(Accept(api_->Init(id, size_, rank_, &comm_), "joining"));
    return AwaitReady(deadline, "joining");
  }

  // Runs `enqueue`, which returns the first error of its calls, as one group of NCCL operations,
  // and waits until the stream has done them.
  template <typename Enqueue>
  absl::Status Exchange(const char* what, const Enqueue& enqueue) {
    RETURN_IF_ERROR(health_->error());
    const auto deadline = Deadline();
    RETURN_IF_ERROR(Accept(api_->GroupStart(), what));
    const int result = enqueue(comm_);
    // The group is ended also after an error: it belongs to the thread.
    const int end = api_->GroupEnd();
    RETURN_IF_ERROR(Accept(result, what));
    RETURN_IF_ERROR(Accept(end, what));
    RETURN_IF_ERROR(AwaitReady(deadline, what));
    return AwaitStream(deadline, what);
  }

  // Ends the communicator, for good if it is broken.
  void End() {
    if (comm_ == nullptr) return;
    void* comm = std::exchange(comm_, nullptr);
    if (health_->error().ok()) {
      api_->Destroy(comm);
    } else {
      api_->Abort(comm);
    }
  }

 private:
  steady_clock::time_point Deadline() const {
    return steady_clock::now() + absl::ToChronoNanoseconds(timeout_);
  }

  // Breaks the group with the first error, and tells NCCL, which ends what waits on the device.
  absl::Status Fail(absl::Status status) {
    status = health_->Break(std::move(status));
    End();
    return status;
  }

  absl::Status Accept(int result, const char* what) {
    if (result == kNcclSuccess || result == kNcclInProgress) return absl::OkStatus();
    return Fail(
        absl::UnavailableError(absl::StrCat("comm: nccl: ", what, ": ", api_->ErrorText(result))));
  }

  // Another thread's Abort, or the deadline.
  absl::Status CheckWait(steady_clock::time_point deadline, const char* what) {
    const absl::Status error = health_->error();
    if (!error.ok()) return Fail(error);
    if (steady_clock::now() < deadline) return absl::OkStatus();
    std::vector<int> peers;
    for (int peer = 0; peer < size_; ++peer) {
      if (peer != rank_) peers.push_back(peer);
    }
    return Fail(absl::DeadlineExceededError(
        absl::StrCat("comm: nccl: ", what, ": rank ", rank_, " waited ",
                     absl::FormatDuration(timeout_), " for rank ", absl::StrJoin(peers, ", "))));
  }

  absl::Status AwaitReady(steady_clock::time_point deadline, const char* what) {
    Nap nap;
    for (;;) {
      int state = kNcclSuccess;
      RETURN_IF_ERROR(Accept(api_->State(comm_, &state), what));
      if (state == kNcclSuccess) return absl::OkStatus();
      RETURN_IF_ERROR(Accept(state, what));
      RETURN_IF_ERROR(CheckWait(deadline, what));
      nap.Take();
    }
  }

  // An error of a peer shows in the communicator's state while the stream still waits.
  absl::Status AwaitStream(steady_clock::time_point deadline, const char* what) {
    Nap nap;
    for (;;) {
      std::string error;
      switch (api_->Query(&error)) {
        case NcclApi::Stream::kDone:
          return absl::OkStatus();
        case NcclApi::Stream::kFailed:
          return Fail(absl::UnavailableError(absl::StrCat("comm: nccl: ", what, ": ", error)));
        case NcclApi::Stream::kBusy:
          break;
      }
      int state = kNcclSuccess;
      RETURN_IF_ERROR(Accept(api_->State(comm_, &state), what));
      RETURN_IF_ERROR(Accept(state, what));
      RETURN_IF_ERROR(CheckWait(deadline, what));
      nap.Take();
    }
  }

  NcclApi* const api_;
  const std::shared_ptr<Health> health_;  // shared by the communicators of the rank
  const int rank_;
  const int size_;
  const absl::Duration timeout_;
  void* comm_ = nullptr;
};

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(NcclApi* api, std::shared_ptr<Health> health, std::unique_ptr<NcclGroup> group,
                   int rank, int size, absl::Span<std::byte> scratch)
      : api_(api),
        health_(std::move(health)),
        group_(std::move(group)),
        rank_(rank),
        size_(size),
        scratch_(scratch) {}

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  absl::Status AllGather(absl::Span<const std::byte> send,
                         absl::Span<const absl::Span<std::byte>> recv) override {
    std::vector<absl::Span<const std::byte>> to_all(size_, send);
    return AllToAll(to_all, recv);
  }

  absl::Status AllToAll(absl::Span<const absl::Span<const std::byte>> send,
                        absl::Span<const absl::Span<std::byte>> recv) override {
    if (static_cast<int>(send.size()) != size_ || static_cast<int>(recv.size()) != size_ ||
        send[rank_].size() != recv[rank_].size()) {
      return absl::InvalidArgumentError(absl::StrCat("comm: ", send.size(), " spans to send and ",
                                                     recv.size(), " to fill in a group of ",
                                                     size_));
    }
    RETURN_IF_ERROR(health_->error());
    if (send[rank_].data() != recv[rank_].data() && !send[rank_].empty()) {
      const int error = api_->Copy(send[rank_].data(), send[rank_].size(), recv[rank_].data());
      if (error != 0) {
        return health_->Break(
            absl::UnavailableError(absl::StrCat("comm: nccl: a copy failed with ", error)));
      }
    }
    if (size_ == 1) return absl::OkStatus();
    return group_->Exchange("an exchange", [&](void* comm) {
      int first = kNcclSuccess;
      auto keep = [&first](int result) {
        if (first == kNcclSuccess && result != kNcclInProgress) first = result;
      };
      for (int step = 1; step < size_; ++step) {
        const int to = (rank_ + step) % size_;
        const int from = (rank_ + size_ - step) % size_;
        if (!send[to].empty()) keep(api_->Send(comm, send[to].data(), send[to].size(), to));
        if (!recv[from].empty()) keep(api_->Recv(comm, recv[from].data(), recv[from].size(), from));
      }
      return first;
    });
  }

  absl::Status Send(int peer, uint64_t, absl::Span<const std::byte> bytes) override {
    RETURN_IF_ERROR(CheckPeer(peer));
    return group_->Exchange("a message", [&](void* comm) {
      return api_->Send(comm, bytes.data(), bytes.size(), peer);
    });
  }

  absl::Status Recv(int peer, uint64_t, absl::Span<std::byte> bytes) override {
    RETURN_IF_ERROR(CheckPeer(peer));
    return group_->Exchange("a message", [&](void* comm) {
      return api_->Recv(comm, bytes.data(), bytes.size(), peer);
    });
  }

  absl::Status Barrier() override {
    std::vector<absl::Span<std::byte>> recv;
    for (int r = 0; r < size_; ++r) recv.push_back(scratch_.subspan(r, 1));
    return AllGather(scratch_.subspan(size_, 1), recv);
  }

  void Abort(absl::Status why) override {
    health_->Break(absl::CancelledError(absl::StrCat("comm: aborted: ", why.message())))
        .IgnoreError();
  }

 private:
  absl::Status CheckPeer(int peer) const {
    if (peer >= 0 && peer < size_ && peer != rank_) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("comm: rank ", rank_, " has no peer ", peer, " in a group of ", size_));
  }

  NcclApi* const api_;
  const std::shared_ptr<Health> health_;  // shared by the communicators of the rank
  const std::unique_ptr<NcclGroup> group_;
  const int rank_;
  const int size_;
  const absl::Span<std::byte> scratch_;
};

// The group's first rank makes the id, the store brings it to the others.
absl::StatusOr<NcclId> ShareId(const NcclOptions& options, const std::string& key, bool first) {
  NcclId id = {};
  if (first) {
    const int result = options.api->NewId(&id);
    if (result != kNcclSuccess) {
      return absl::UnavailableError(
          absl::StrCat("comm: nccl: making an id: ", options.api->ErrorText(result)));
    }
    RETURN_IF_ERROR(options.store->Set(key, std::string(id.data(), id.size())));
    return id;
  }
  ASSIGN_OR_RETURN(const std::string bytes, options.store->Get(key, options.timeout));
  if (bytes.size() != id.size()) {
    return absl::InternalError(
        absl::StrCat("comm: nccl: an id of ", bytes.size(), " bytes; expected ", id.size()));
  }
  std::memcpy(id.data(), bytes.data(), id.size());
  return id;
}

absl::StatusOr<std::unique_ptr<Communicator>> Join(const NcclOptions& options,
                                                   const std::shared_ptr<Health>& health,
                                                   const std::string& key, int rank, int size) {
  ASSIGN_OR_RETURN(const NcclId id, ShareId(options, key, rank == 0));
  auto group = std::make_unique<NcclGroup>(options.api, health, rank, size, options.timeout);
  RETURN_IF_ERROR(group->Join(id));
  return std::make_unique<NcclCommunicator>(options.api, health, std::move(group), rank, size,
                                            options.scratch);
}

}  // namespace

absl::StatusOr<GroupComms> ConnectNccl(const NcclOptions& options) {
  const int size = options.tp * options.pp;
  if (static_cast<int>(options.scratch.size()) < 2 * size) {
    return absl::InvalidArgumentError(absl::StrCat("comm: nccl: ", options.scratch.size(),
                                                   " bytes of scratch for ", size, " ranks"));
  }
  auto health = std::make_shared<Health>();
  Interrupter::Scope scope(options.interrupter, [&health](const absl::Status& why) {
    health->Break(why).IgnoreError();
  });
  GroupComms comms;
  ASSIGN_OR_RETURN(comms.group, Join(options, health, "nccl/group", options.rank, size));
  const int stage = options.rank / options.tp;
  ASSIGN_OR_RETURN(comms.tensor, Join(options, health, absl::StrCat("nccl/stage/", stage),
                                      options.rank % options.tp, options.tp));
  return comms;
}

}  // namespace tessera::worker
