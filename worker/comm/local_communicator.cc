#include "worker/comm/local_communicator.h"

#include <atomic>
#include <cstdlib>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "shard_loader/mutex.h"
#include "worker/comm/mesh_communicator.h"
#include "worker/comm/ring_links.h"
#include "worker/comm/spin.h"

namespace tessera::worker {
namespace {

// What the ranks share. Thread-safe.
class LocalGroup {
 public:
  // calloc, not a vector: pages of rings that are never used are never touched.
  explicit LocalGroup(int size)
      : ranks_(size), block_(std::calloc(RingMemoryBytes(size) + kAlignment, 1)) {}

  std::byte* memory() {
    const auto address = reinterpret_cast<uintptr_t>(block_.get());
    return static_cast<std::byte*>(block_.get()) + (kAlignment - address % kAlignment) % kAlignment;
  }
  int size() const { return static_cast<int>(ranks_.size()); }

  uint64_t events(int rank) { return ranks_[rank].events.load(std::memory_order_seq_cst); }

  // The lock is taken only where the rank sleeps; a rank that is about to sleep either is seen here
  // or sees the new count.
  void Notify(int rank) {
    Rank& r = ranks_[rank];
    r.events.fetch_add(1, std::memory_order_seq_cst);
    if (r.sleeps.load(std::memory_order_seq_cst) == 0) return;
    MutexLock lock(r.mutex);
    r.woken.NotifyOne();
  }

  void Sleep(int rank, uint64_t ticket, Links::Deadline deadline) {
    Rank& r = ranks_[rank];
    MutexLock lock(r.mutex);
    r.sleeps.store(1, std::memory_order_seq_cst);
    while (r.events.load(std::memory_order_seq_cst) == ticket) {
      if (!r.woken.WaitUntil(r.mutex, deadline)) break;
    }
    r.sleeps.store(0, std::memory_order_seq_cst);
  }

  absl::Status Alive(int rank) {
    Rank& r = ranks_[rank];
    if (r.closed.load(std::memory_order_acquire) == 0) return absl::OkStatus();
    MutexLock lock(r.mutex);
    return absl::UnavailableError(absl::StrCat("comm: rank ", rank, " is gone: ", r.why));
  }

  void Close(int rank, std::string why) {
    {
      Rank& r = ranks_[rank];
      MutexLock lock(r.mutex);
      if (r.closed.load(std::memory_order_relaxed) != 0) return;
      r.why = std::move(why);
      r.closed.store(1, std::memory_order_release);
    }
    for (int peer = 0; peer < size(); ++peer) Notify(peer);
  }

 private:
  struct Rank {
    std::atomic<uint64_t> events{0};
    std::atomic<int> sleeps{0};
    std::atomic<int> closed{0};
    Mutex mutex;
    CondVar woken;
    std::string why ABSL_GUARDED_BY(mutex);
  };
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  static constexpr size_t kAlignment = 64;

  std::vector<Rank> ranks_;
  const std::unique_ptr<void, Free> block_;
};

class LocalLinks : public RingLinks {
 public:
  // group: shared by the links of all ranks.
  LocalLinks(std::shared_ptr<LocalGroup> group, int rank)
      : RingLinks(group->memory(), rank, group->size()),
        group_(std::move(group)),
        spin_(Spin::OwnCpus(), group_->size()) {}
  ~LocalLinks() override { group_->Close(rank(), WhyClosed(absl::OkStatus())); }

  uint64_t Ticket() override { return group_->events(rank()); }
  absl::Status Wait(uint64_t ticket, Deadline deadline) override {
    if (spin_.Until([&] { return group_->events(rank()) != ticket; })) return absl::OkStatus();
    group_->Sleep(rank(), ticket, deadline);
    return absl::OkStatus();
  }
  void Wake() override { group_->Notify(rank()); }
  void Close(const absl::Status& why) override { group_->Close(rank(), WhyClosed(why)); }

 protected:
  void Notify(int peer) override { group_->Notify(peer); }
  absl::Status PeerAlive(int peer) override { return group_->Alive(peer); }

 private:
  const std::shared_ptr<LocalGroup> group_;
  const Spin spin_;
};

}  // namespace

std::vector<GroupComms> MakeLocalComms(int tp, int pp, absl::Duration timeout) {
  auto group = std::make_shared<LocalGroup>(tp * pp);
  std::vector<GroupComms> comms;
  for (int r = 0; r < tp * pp; ++r) {
    comms.push_back(MakeMeshComms(std::make_unique<LocalLinks>(group, r), tp, timeout));
  }
  return comms;
}

std::vector<std::unique_ptr<Communicator>> MakeLocalGroup(int size, absl::Duration timeout) {
  std::vector<std::unique_ptr<Communicator>> group;
  for (GroupComms& comms : MakeLocalComms(size, 1, timeout)) {
    group.push_back(std::move(comms.tensor));
  }
  return group;
}

}  // namespace tessera::worker
