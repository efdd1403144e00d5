#include "worker/comm/shm_communicator.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "shard_loader/status_macros.h"
#include "worker/comm/mesh_communicator.h"
#include "worker/comm/ring_links.h"
#include "worker/comm/shm_region.h"
#include "worker/comm/spin.h"

namespace tessera::worker {
namespace {

using std::chrono::nanoseconds;
using std::chrono::steady_clock;

// A futex cannot be waited for together with descriptors: a sleeping rank looks at the peers'
// processes this often.
constexpr std::chrono::milliseconds kWatchInterval(20);
constexpr int kMaxRanks = 256;

void FutexWait(std::atomic<uint32_t>& word, uint32_t expected, nanoseconds limit) {
  timespec time;
  time.tv_sec = limit.count() / 1000000000;
  time.tv_nsec = limit.count() % 1000000000;
  syscall(SYS_futex, &word, FUTEX_WAIT, expected, &time, nullptr, 0);
}

void FutexWake(std::atomic<uint32_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

// A descriptor that becomes readable when the process ends; -1 where the system has none.
class PidFd {
 public:
  explicit PidFd(int pid) : fd_(static_cast<int>(syscall(SYS_pidfd_open, pid, 0))) {
    no_process_ = fd_ < 0 && errno == ESRCH;
  }
  ~PidFd() {
    if (fd_ >= 0) close(fd_);
  }
  PidFd(const PidFd&) = delete;
  PidFd& operator=(const PidFd&) = delete;

  bool Ended() const {
    if (fd_ < 0) return no_process_;
    pollfd entry = {fd_, POLLIN, 0};
    return poll(&entry, 1, 0) == 1;
  }

 private:
  const int fd_;
  bool no_process_ = false;
};

class ShmLinks : public RingLinks {
 public:
  ShmLinks(ShmRegion region, int rank)
      : RingLinks(region.rings(), rank, region.ranks()),
        region_(std::move(region)),
        spin_(Spin::OwnCpus(), region_.ranks()),
        processes_(region_.ranks()),
        ended_(region_.ranks()) {}
  ~ShmLinks() override { Close(absl::OkStatus()); }

  absl::Status Join(int tp, int pp, Deadline deadline);

  uint64_t Ticket() override { return own().events.load(std::memory_order_seq_cst); }
  absl::Status Wait(uint64_t ticket, Deadline deadline) override;
  void Wake() override { Notify(rank()); }
  void Close(const absl::Status& why) override;

 protected:
  void Notify(int peer) override {
    ShmRankSlot& slot = region_.slot(peer);
    slot.events.fetch_add(1, std::memory_order_seq_cst);
    if (slot.sleeps.load(std::memory_order_seq_cst) != 0) FutexWake(slot.events);
  }
  absl::Status PeerAlive(int peer) override;

 private:
  ShmRankSlot& own() const { return region_.slot(rank()); }
  absl::Status CheckJoined(int peer, int tp, int pp) const;
  void WatchProcesses();

  const ShmRegion region_;
  Spin spin_;
  std::vector<std::unique_ptr<PidFd>> processes_;  // index: peer; none for this rank
  std::vector<char> ended_;                        // index: peer
  std::atomic<bool> closing_{false};
};

absl::Status ShmLinks::Join(int tp, int pp, Deadline deadline) {
  if (own().joined.load(std::memory_order_acquire) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("comm: shared memory: rank ", rank(),
                     " has joined with this region before; every epoch needs a new one"));
  }
  own().tp = tp;
  own().pp = pp;
  own().pid = getpid();
  own().cpus = Spin::OwnCpus();
  own().joined.store(kShmMagic, std::memory_order_seq_cst);
  for (int peer = 0; peer < size(); ++peer) Notify(peer);
  for (;;) {
    const uint64_t ticket = Ticket();
    std::vector<int> missing;
    for (int peer = 0; peer < size(); ++peer) {
      if (region_.slot(peer).joined.load(std::memory_order_acquire) == 0) missing.push_back(peer);
    }
    if (missing.empty()) break;
    if (steady_clock::now() >= deadline) {
      return absl::DeadlineExceededError(
          absl::StrCat("comm: shared memory: rank ", rank(), " waited to join: rank ",
                       absl::StrJoin(missing, ", "), " did not come"));
    }
    RETURN_IF_ERROR(Wait(ticket, deadline));
  }
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  for (int peer = 0; peer < size(); ++peer) {
    RETURN_IF_ERROR(CheckJoined(peer, tp, pp));
    CPU_OR(&cpus, &cpus, &region_.slot(peer).cpus);
    if (peer != rank()) processes_[peer] = std::make_unique<PidFd>(region_.slot(peer).pid);
  }
  spin_ = Spin(cpus, size());
  return absl::OkStatus();
}

absl::Status ShmLinks::CheckJoined(int peer, int tp, int pp) const {
  const ShmRankSlot& slot = region_.slot(peer);
  if (slot.joined.load(std::memory_order_acquire) != kShmMagic) {
    return absl::FailedPreconditionError(
        absl::StrCat("comm: shared memory: rank ", peer,
                     " runs another version; start all ranks from one build"));
  }
  if (slot.tp != static_cast<uint32_t>(tp) || slot.pp != static_cast<uint32_t>(pp)) {
    return absl::FailedPreconditionError(
        absl::StrCat("comm: shared memory: rank ", peer, " joined a group of tp ", slot.tp, " pp ",
                     slot.pp, ", this one has tp ", tp, " pp ", pp));
  }
  return absl::OkStatus();
}

absl::Status ShmLinks::Wait(uint64_t ticket, Deadline deadline) {
  ShmRankSlot& slot = own();
  auto happened = [&] {
    return slot.events.load(std::memory_order_seq_cst) != static_cast<uint32_t>(ticket);
  };
  if (spin_.Until(happened)) return absl::OkStatus();
  slot.sleeps.store(1, std::memory_order_seq_cst);
  while (!happened()) {
    const nanoseconds left = deadline - steady_clock::now();
    if (left <= nanoseconds::zero()) break;
    FutexWait(slot.events, static_cast<uint32_t>(ticket),
              std::min<nanoseconds>(left, kWatchInterval));
    if (!happened()) WatchProcesses();
  }
  slot.sleeps.store(0, std::memory_order_relaxed);
  return absl::OkStatus();
}

void ShmLinks::WatchProcesses() {
  for (int peer = 0; peer < size(); ++peer) {
    if (processes_[peer] == nullptr || ended_[peer] || !processes_[peer]->Ended()) continue;
    ended_[peer] = 1;
    Notify(rank());
  }
}

absl::Status ShmLinks::PeerAlive(int peer) {
  const ShmRankSlot& slot = region_.slot(peer);
  if (slot.closed.load(std::memory_order_acquire) != 0) {
    const std::string why(slot.why, strnlen(slot.why, sizeof(slot.why)));
    return absl::UnavailableError(absl::StrCat("comm: rank ", peer, " is gone: ", why));
  }
  if (ended_[peer]) {
    return absl::UnavailableError(
        absl::StrCat("comm: rank ", peer, " is gone: its process ", slot.pid, " ended"));
  }
  return absl::OkStatus();
}

void ShmLinks::Close(const absl::Status& why) {
  if (closing_.exchange(true)) return;
  ShmRankSlot& slot = own();
  const std::string text = WhyClosed(why).substr(0, sizeof(slot.why) - 1);
  std::memcpy(slot.why, text.data(), text.size());
  slot.closed.store(1, std::memory_order_seq_cst);
  for (int peer = 0; peer < size(); ++peer) Notify(peer);
}

}  // namespace

absl::StatusOr<GroupComms> ConnectShm(int fd, int rank, int tp, int pp, absl::Duration timeout) {
  const int ranks = tp * pp;
  if (ranks > kMaxRanks) {
    return absl::FailedPreconditionError(
        absl::StrCat("comm: shared memory joins at most ", kMaxRanks, " ranks, not ", ranks));
  }
  ASSIGN_OR_RETURN(ShmRegion region, ShmRegion::Map(fd, ranks));
  auto links = std::make_unique<ShmLinks>(std::move(region), rank);
  RETURN_IF_ERROR(links->Join(tp, pp, steady_clock::now() + absl::ToChronoNanoseconds(timeout)));
  return MakeMeshComms(std::move(links), tp, timeout);
}

}  // namespace tessera::worker
