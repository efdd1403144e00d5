#include "worker/comm/mesh_communicator.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "shard_loader/mutex.h"
#include "shard_loader/status_macros.h"

namespace tessera::worker {
namespace {

// In front of the bytes of every message, so that ranks that do not run the same sequence of calls
// are told so instead of mixing up their bytes.
struct MessageHeader {
  uint64_t label = 0;  // of a collective: its kind and number; of a message: its tag
  uint64_t bytes = 0;
};

constexpr uint64_t kAllGather = uint64_t{1} << 56;
constexpr uint64_t kAllToAll = uint64_t{2} << 56;
constexpr uint64_t kBarrier = uint64_t{3} << 56;

// What the communicators of one rank share: the links, and whether they are broken. Thread-safe as
// said at the members.
class SharedLinks {
 public:
  explicit SharedLinks(std::unique_ptr<Links> links) : links_(std::move(links)) {}
  ~SharedLinks() { links_->Close(broken()); }

  Links& links() { return *links_; }  // used by the thread that runs the exchanges

  // Thread-safe. The first error, which stays.
  absl::Status broken() {
    if (!is_broken_.load(std::memory_order_acquire)) return absl::OkStatus();
    MutexLock lock(mutex_);
    return first_error_;
  }

  // Thread-safe. Keeps `status`, unless there is an earlier error.
  void Break(absl::Status status) {
    MutexLock lock(mutex_);
    if (first_error_.ok()) first_error_ = std::move(status);
    is_broken_.store(true, std::memory_order_release);
  }

  // Thread-safe.
  void Abort(const absl::Status& why) {
    Break(absl::CancelledError(absl::StrCat("comm: aborted: ", why.message())));
    links_->Close(broken());
    links_->Wake();
  }

 private:
  const std::unique_ptr<Links> links_;
  std::atomic<bool> is_broken_{false};
  Mutex mutex_;
  absl::Status first_error_ ABSL_GUARDED_BY(mutex_);
};

// One direction of an exchange with one peer: a header, then the bytes.
template <typename Byte>
struct Transfer {
  MessageHeader header;    // sent, or expected
  MessageHeader received;  // of the receiving direction
  absl::Span<Byte> bytes;
  size_t done = 0;  // of header and bytes
  bool finished = true;

  void Start(uint64_t label, absl::Span<Byte> payload) {
    header = {label, payload.size()};
    bytes = payload;
    done = 0;
    finished = false;
  }
};

class MeshCommunicator : public Communicator {
 public:
  // members: the links' ranks that take part, ascending; index: rank in this communicator.
  // shared: by the group's and the tensor communicator of this rank.
  MeshCommunicator(std::shared_ptr<SharedLinks> shared, std::vector<int> members,
                   Stream collectives, absl::Duration timeout)
      : shared_(std::move(shared)),
        members_(std::move(members)),
        collectives_(collectives),
        messages_(collectives == kGroupCollective ? kGroupMessage : kTensorMessage),
        timeout_(absl::ToChronoNanoseconds(timeout)),
        sends_(members_.size()),
        recvs_(members_.size()) {
    for (size_t r = 0; r < members_.size(); ++r) {
      if (members_[r] == shared_->links().rank()) rank_ = static_cast<int>(r);
    }
  }

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(members_.size()); }

  absl::Status AllGather(absl::Span<const std::byte> send,
                         absl::Span<const absl::Span<std::byte>> recv) override;
  absl::Status AllToAll(absl::Span<const absl::Span<const std::byte>> send,
                        absl::Span<const absl::Span<std::byte>> recv) override;
  absl::Status Send(int peer, uint64_t tag, absl::Span<const std::byte> bytes) override;
  absl::Status Recv(int peer, uint64_t tag, absl::Span<std::byte> bytes) override;
  absl::Status Barrier() override;
  void Abort(absl::Status why) override { shared_->Abort(why); }

 private:
  absl::Status CheckSpans(size_t spans) const;
  absl::Status CheckPeer(int peer) const;
  absl::Status CopyOwn(absl::Span<const std::byte> send, absl::Span<std::byte> recv);
  // Runs every transfer that was started to its end; breaks the communicator where it fails.
  absl::Status Exchange(Stream stream, const char* what);
  absl::Status ExchangeOrError(Stream stream, const char* what);
  // One try for every unfinished transfer; `moved` tells whether a byte went either way.
  absl::StatusOr<bool> Round(Stream stream, const char* what, bool& moved);
  absl::StatusOr<size_t> Push(int peer, Stream stream);
  absl::StatusOr<size_t> Pull(int peer, Stream stream, const char* what);
  absl::Status CheckHeader(int peer, const char* what) const;
  absl::Status Late(const char* what) const;

  const std::shared_ptr<SharedLinks> shared_;
  const std::vector<int> members_;
  const Stream collectives_;
  const Stream messages_;
  const std::chrono::nanoseconds timeout_;
  int rank_ = 0;
  uint64_t collective_number_ = 0;
  std::vector<Transfer<const std::byte>> sends_;  // index: peer
  std::vector<Transfer<std::byte>> recvs_;
};

absl::Status MeshCommunicator::CheckSpans(size_t spans) const {
  if (spans == members_.size()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("comm: ", spans, " spans for a group of ", size(), " ranks"));
}

absl::Status MeshCommunicator::CheckPeer(int peer) const {
  if (peer >= 0 && peer < size() && peer != rank_) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("comm: rank ", rank_, " of ", size(),
                                                 " cannot exchange messages with rank ", peer));
}

absl::Status MeshCommunicator::CopyOwn(absl::Span<const std::byte> send,
                                       absl::Span<std::byte> recv) {
  if (send.size() != recv.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "comm: rank ", rank_, " sends itself ", send.size(), " bytes, but expects ", recv.size()));
  }
  if (!send.empty() && send.data() != recv.data()) {
    std::memcpy(recv.data(), send.data(), send.size());
  }
  return absl::OkStatus();
}

absl::Status MeshCommunicator::AllGather(absl::Span<const std::byte> send,
                                         absl::Span<const absl::Span<std::byte>> recv) {
  RETURN_IF_ERROR(CheckSpans(recv.size()));
  RETURN_IF_ERROR(shared_->broken());
  RETURN_IF_ERROR(CopyOwn(send, recv[rank_]));
  const uint64_t label = kAllGather | ++collective_number_;
  for (int r = 0; r < size(); ++r) {
    if (r == rank_) continue;
    sends_[r].Start(label, send);
    recvs_[r].Start(label, recv[r]);
  }
  return Exchange(collectives_, "all-gather");
}

absl::Status MeshCommunicator::AllToAll(absl::Span<const absl::Span<const std::byte>> send,
                                        absl::Span<const absl::Span<std::byte>> recv) {
  RETURN_IF_ERROR(CheckSpans(send.size()));
  RETURN_IF_ERROR(CheckSpans(recv.size()));
  RETURN_IF_ERROR(shared_->broken());
  RETURN_IF_ERROR(CopyOwn(send[rank_], recv[rank_]));
  const uint64_t label = kAllToAll | ++collective_number_;
  for (int r = 0; r < size(); ++r) {
    if (r == rank_) continue;
    sends_[r].Start(label, send[r]);
    recvs_[r].Start(label, recv[r]);
  }
  return Exchange(collectives_, "all-to-all");
}

absl::Status MeshCommunicator::Barrier() {
  RETURN_IF_ERROR(shared_->broken());
  const uint64_t label = kBarrier | ++collective_number_;
  for (int r = 0; r < size(); ++r) {
    if (r == rank_) continue;
    sends_[r].Start(label, {});
    recvs_[r].Start(label, {});
  }
  return Exchange(collectives_, "barrier");
}

absl::Status MeshCommunicator::Send(int peer, uint64_t tag, absl::Span<const std::byte> bytes) {
  RETURN_IF_ERROR(CheckPeer(peer));
  RETURN_IF_ERROR(shared_->broken());
  sends_[peer].Start(tag, bytes);
  return Exchange(messages_, "send");
}

absl::Status MeshCommunicator::Recv(int peer, uint64_t tag, absl::Span<std::byte> bytes) {
  RETURN_IF_ERROR(CheckPeer(peer));
  RETURN_IF_ERROR(shared_->broken());
  recvs_[peer].Start(tag, bytes);
  return Exchange(messages_, "receive");
}

absl::Status MeshCommunicator::Exchange(Stream stream, const char* what) {
  absl::Status status = ExchangeOrError(stream, what);
  if (status.ok()) return status;
  for (int r = 0; r < size(); ++r) sends_[r].finished = recvs_[r].finished = true;
  shared_->Break(std::move(status));
  return shared_->broken();
}

absl::Status MeshCommunicator::ExchangeOrError(Stream stream, const char* what) {
  Links& links = shared_->links();
  const Links::Deadline deadline = std::chrono::steady_clock::now() + timeout_;
  for (;;) {
    const uint64_t ticket = links.Ticket();
    RETURN_IF_ERROR(shared_->broken());
    bool moved = false;
    ASSIGN_OR_RETURN(const bool finished, Round(stream, what, moved));
    if (finished) return absl::OkStatus();
    if (moved) continue;
    if (std::chrono::steady_clock::now() >= deadline) return Late(what);
    RETURN_IF_ERROR(links.Wait(ticket, deadline));
  }
}

absl::StatusOr<bool> MeshCommunicator::Round(Stream stream, const char* what, bool& moved) {
  bool finished = true;
  // Each rank starts with its successor, so that they do not all wait for the same one.
  for (int i = 1; i < size(); ++i) {
    const int peer = (rank_ + i) % size();
    if (sends_[peer].finished) continue;
    ASSIGN_OR_RETURN(const size_t n, Push(peer, stream));
    moved |= n > 0;
    finished &= sends_[peer].finished;
  }
  for (int i = 1; i < size(); ++i) {
    const int peer = (rank_ + size() - i) % size();
    if (recvs_[peer].finished) continue;
    ASSIGN_OR_RETURN(const size_t n, Pull(peer, stream, what));
    moved |= n > 0;
    finished &= recvs_[peer].finished;
  }
  return finished;
}

absl::StatusOr<size_t> MeshCommunicator::Push(int peer, Stream stream) {
  Links& links = shared_->links();
  Transfer<const std::byte>& transfer = sends_[peer];
  const auto* header = reinterpret_cast<const std::byte*>(&transfer.header);
  const size_t head = std::min(transfer.done, sizeof(MessageHeader));
  ASSIGN_OR_RETURN(const size_t n, links.TryWrite(members_[peer], stream,
                                                  {header + head, sizeof(MessageHeader) - head},
                                                  transfer.bytes.subspan(transfer.done - head)));
  transfer.done += n;
  transfer.finished = transfer.done == sizeof(MessageHeader) + transfer.bytes.size();
  return n;
}

absl::StatusOr<size_t> MeshCommunicator::Pull(int peer, Stream stream, const char* what) {
  Links& links = shared_->links();
  Transfer<std::byte>& transfer = recvs_[peer];
  const size_t before = transfer.done;
  while (transfer.done < sizeof(MessageHeader)) {
    auto* header = reinterpret_cast<std::byte*>(&transfer.received);
    absl::Span<std::byte> rest(header + transfer.done, sizeof(MessageHeader) - transfer.done);
    ASSIGN_OR_RETURN(const size_t n, links.TryRead(members_[peer], stream, rest));
    if (n == 0) return transfer.done - before;
    transfer.done += n;
    if (n == rest.size()) RETURN_IF_ERROR(CheckHeader(peer, what));
  }
  const absl::Span<std::byte> rest = transfer.bytes.subspan(transfer.done - sizeof(MessageHeader));
  if (!rest.empty()) {
    ASSIGN_OR_RETURN(const size_t n, links.TryRead(members_[peer], stream, rest));
    transfer.done += n;
  }
  transfer.finished = transfer.done == sizeof(MessageHeader) + transfer.bytes.size();
  return transfer.done - before;
}

absl::Status MeshCommunicator::CheckHeader(int peer, const char* what) const {
  const MessageHeader& expected = recvs_[peer].header;
  const MessageHeader& got = recvs_[peer].received;
  if (got.label == expected.label && got.bytes == expected.bytes) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(
      "comm: ", what, ": rank ", members_[rank_], " expected ", expected.bytes, " bytes labelled ",
      absl::Hex(expected.label), " from rank ", members_[peer], ", which sent ", got.bytes,
      " bytes labelled ", absl::Hex(got.label), ": the ranks do not run the same calls"));
}

absl::Status MeshCommunicator::Late(const char* what) const {
  std::vector<int> silent, full;
  for (int r = 0; r < size(); ++r) {
    if (!recvs_[r].finished) {
      silent.push_back(members_[r]);
    } else if (!sends_[r].finished) {
      full.push_back(members_[r]);
    }
  }
  // Who sent nothing is the cause; who takes nothing may be waiting for that one.
  const std::vector<int>& late = silent.empty() ? full : silent;
  return absl::DeadlineExceededError(
      absl::StrCat("comm: ", what, ": rank ", members_[rank_], " waited ",
                   absl::FormatDuration(absl::FromChrono(timeout_)), " for ",
                   late.size() == 1 ? "rank " : "ranks ", absl::StrJoin(late, ", "),
                   silent.empty() ? ", which did not take its bytes" : ", which did not come"));
}

}  // namespace

GroupComms MakeMeshComms(std::unique_ptr<Links> links, int tp, absl::Duration timeout) {
  const int rank = links->rank();
  const int size = links->size();
  auto shared = std::make_shared<SharedLinks>(std::move(links));
  std::vector<int> all(size), stage(tp);
  for (int r = 0; r < size; ++r) all[r] = r;
  for (int i = 0; i < tp; ++i) stage[i] = rank / tp * tp + i;
  GroupComms comms;
  comms.tensor =
      std::make_unique<MeshCommunicator>(shared, std::move(stage), kTensorCollective, timeout);
  comms.group = std::make_unique<MeshCommunicator>(std::move(shared), std::move(all),
                                                   kGroupCollective, timeout);
  return comms;
}

}  // namespace tessera::worker
