#include "worker/comm/gloo_links.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "shard_loader/status_macros.h"
#include "worker/comm/communicator.h"

namespace tessera::worker {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// In front of every frame.
struct GlooLinks::FrameHeader {
  uint32_t magic = 0;
  uint16_t kind = 0;
  uint16_t stream = 0;
  uint32_t bytes = 0;  // of the payload; of an acknowledgement: those that were read
  uint32_t tp = 0;     // of a greeting
};

namespace {

constexpr uint32_t kMagic = 0x54534701;  // "TSG", version 1
enum Kind : uint16_t { kGreeting = 1, kData = 2, kAcknowledge = 3, kGoodbye = 4 };

constexpr size_t kFrameHeaderBytes = 16;
constexpr size_t kPayload = kGlooFrameBytes - kFrameHeaderBytes;

// What may be on its way per stream: the inboxes hold it. A frame is sent only where the kernel
// takes it at once, so two ranks that write to each other never wait for each other.
constexpr std::array<size_t, kStreams> kWindow = {32 << 10, 96 << 10, 128 << 10, 32 << 10};
static_assert(kWindow[kGroupMessage] >= kEagerBytes && kWindow[kTensorMessage] >= kEagerBytes);

// A rank that leaves waits this long for peers that may still write to it: an answer to a closed
// socket would cost them what they have not read.
constexpr milliseconds kLinger(500);

// A socket without room is looked at again after this time: the kernel calls one writable before a
// whole frame fits.
constexpr milliseconds kFullSocket(1);

}  // namespace

GlooLinks::GlooLinks(std::unique_ptr<GlooPairs> pairs, int rank)
    : pairs_(std::move(pairs)),
      rank_(rank),
      wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      peers_(pairs_->size()) {
  static_assert(sizeof(FrameHeader) == kFrameHeaderBytes);
  for (Peer& peer : peers_) {
    for (int s = 0; s < kStreams; ++s) peer.inbox[s].bytes.resize(kWindow[s]);
  }
}

GlooLinks::~GlooLinks() {
  if (!closed_.load()) SayGoodbye();
  close(wake_fd_);
}

absl::Status GlooLinks::Greet(int tp, Deadline deadline) {
  for (int r = 0; r < size(); ++r) {
    if (r == rank_) continue;
    FrameHeader greeting{kMagic, kGreeting};
    greeting.tp = static_cast<uint32_t>(tp);
    RETURN_IF_ERROR(SendFrame(r, greeting, kPayload));
  }
  for (;;) {
    std::vector<int> missing;
    for (int r = 0; r < size(); ++r) {
      if (r == rank_) continue;
      // A peer may have greeted, done its part and left before this rank looks.
      if (peers_[r].greeted_tp == 0) {
        RETURN_IF_ERROR(peers_[r].gone);
        missing.push_back(r);
      }
      if (peers_[r].greeted_tp != 0 && peers_[r].greeted_tp != static_cast<uint32_t>(tp)) {
        return absl::FailedPreconditionError(absl::StrCat(
            "comm: gloo: rank ", r, " has tp ", peers_[r].greeted_tp, ", this rank ", tp));
      }
    }
    if (missing.empty()) return absl::OkStatus();
    if (steady_clock::now() >= deadline) {
      return absl::DeadlineExceededError(absl::StrCat("comm: gloo: rank ", rank_,
                                                      " waited for the greeting of rank ",
                                                      absl::StrJoin(missing, ", ")));
    }
    RETURN_IF_ERROR(Wait(0, deadline));
  }
}

absl::StatusOr<size_t> GlooLinks::TryWrite(int peer, Stream stream,
                                           absl::Span<const std::byte> head,
                                           absl::Span<const std::byte> bytes) {
  Peer& p = peers_[peer];
  RETURN_IF_ERROR(p.gone);
  const size_t window = std::min(kPayload, kWindow[stream] - p.on_the_way[stream]);
  if (window == 0) return size_t{0};
  const size_t socket = pairs_->room(peer);
  const size_t room = std::min(window, socket - std::min(socket, kFrameHeaderBytes));
  full_ |= room == 0;
  const size_t first = std::min(room, head.size());
  const size_t second = std::min(room - first, bytes.size());
  if (first + second == 0) return size_t{0};
  std::byte* payload = pairs_->outgoing(peer).data() + kFrameHeaderBytes;
  if (first > 0) std::memcpy(payload, head.data(), first);
  if (second > 0) std::memcpy(payload + first, bytes.data(), second);
  const FrameHeader header{kMagic, kData, static_cast<uint16_t>(stream),
                           static_cast<uint32_t>(first + second)};
  RETURN_IF_ERROR(SendFrame(peer, header, first + second));
  p.on_the_way[stream] += first + second;
  return first + second;
}

absl::Status GlooLinks::SendFrame(int peer, const FrameHeader& header, size_t payload) {
  std::memcpy(pairs_->outgoing(peer).data(), &header, kFrameHeaderBytes);
  absl::Status sent = pairs_->Send(peer, kFrameHeaderBytes + payload);
  if (!sent.ok() && peers_[peer].gone.ok()) peers_[peer].gone = sent;
  return peers_[peer].gone;
}

absl::StatusOr<size_t> GlooLinks::TryRead(int peer, Stream stream, absl::Span<std::byte> bytes) {
  Peer& p = peers_[peer];
  Inbox& inbox = p.inbox[stream];
  if (inbox.used == 0) {
    RETURN_IF_ERROR(p.gone);
    return size_t{0};
  }
  const size_t n = std::min(bytes.size(), inbox.used);
  const size_t first = std::min(n, inbox.bytes.size() - inbox.begin);
  std::memcpy(bytes.data(), inbox.bytes.data() + inbox.begin, first);
  if (n > first) std::memcpy(bytes.data() + first, inbox.bytes.data(), n - first);
  inbox.begin = (inbox.begin + n) % inbox.bytes.size();
  inbox.used -= n;
  inbox.unacknowledged += n;
  Acknowledge(peer);
  return n;
}

void GlooLinks::Acknowledge(int peer) {
  Peer& p = peers_[peer];
  for (int stream = 0; stream < kStreams; ++stream) {
    Inbox& inbox = p.inbox[stream];
    if (inbox.unacknowledged < kWindow[stream] / 2) continue;
    // Frames that have come may hold the peer's good-bye, after which nothing is written to it.
    while (ReadFrames(0)) {
    }
    if (!p.gone.ok()) return;
    if (pairs_->room(peer) < kFrameHeaderBytes) {
      full_ = true;
      return;
    }
    const FrameHeader header{kMagic, kAcknowledge, static_cast<uint16_t>(stream),
                             static_cast<uint32_t>(inbox.unacknowledged)};
    inbox.unacknowledged = 0;
    // A failure shows at the next use of the peer; what was read is good.
    SendFrame(peer, header, 0).IgnoreError();
  }
}

absl::Status GlooLinks::Wait(uint64_t, Deadline deadline) {
  if (std::exchange(full_, false)) {
    deadline = std::min(deadline, steady_clock::now() + kFullSocket);
    for (int r = 0; r < size(); ++r) {
      if (r != rank_) Acknowledge(r);
    }
  }
  const auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now());
  ReadFrames(static_cast<int>(std::clamp<int64_t>(left.count(), 0, 1 << 30)));
  return absl::OkStatus();
}

bool GlooLinks::ReadFrames(int timeout_ms) {
  std::array<pollfd, 64> some;
  std::vector<pollfd> many;
  pollfd* entries = some.data();
  if (peers_.size() + 1 > some.size()) {
    many.resize(peers_.size() + 1);
    entries = many.data();
  }
  for (int r = 0; r < size(); ++r) {
    // poll passes over negative descriptors.
    const bool listens = r != rank_ && peers_[r].gone.ok();
    entries[r] = {listens ? pairs_->socket(r) : -1, POLLIN, 0};
  }
  entries[size()] = {wake_fd_, POLLIN, 0};
  if (poll(entries, peers_.size() + 1, timeout_ms) <= 0) return false;
  if (entries[size()].revents != 0) {
    uint64_t wakes;
    [[maybe_unused]] const ssize_t n = read(wake_fd_, &wakes, sizeof(wakes));
  }
  bool any = false;
  for (int r = 0; r < size(); ++r) {
    if (entries[r].revents == 0) continue;
    TakeFrame(r);
    any = true;
  }
  return any;
}

void GlooLinks::TakeFrame(int peer) {
  absl::Status status = pairs_->Receive(peer);
  if (status.ok()) {
    const absl::Span<const std::byte> frame = pairs_->incoming(peer);
    FrameHeader header;
    std::memcpy(&header, frame.data(), kFrameHeaderBytes);
    status = Sort(peer, header, frame.subspan(kFrameHeaderBytes));
  }
  if (peers_[peer].gone.ok()) peers_[peer].gone = status;
}

absl::Status GlooLinks::Sort(int peer, const FrameHeader& header,
                             absl::Span<const std::byte> payload) {
  const absl::Status bad = absl::InternalError(
      absl::StrCat("comm: gloo: rank ", peer, " sent a frame that cannot be: kind ", header.kind,
                   ", stream ", header.stream, ", ", header.bytes, " bytes"));
  if (header.magic != kMagic || header.stream >= kStreams) return bad;
  Peer& p = peers_[peer];
  Inbox& inbox = p.inbox[header.stream];
  switch (header.kind) {
    case kGreeting:
      p.greeted_tp = header.tp;
      return header.tp == 0 ? bad : absl::OkStatus();
    case kAcknowledge:
      if (header.bytes > p.on_the_way[header.stream]) return bad;
      p.on_the_way[header.stream] -= header.bytes;
      return absl::OkStatus();
    case kGoodbye: {
      if (header.bytes > payload.size()) return bad;
      const std::string why(reinterpret_cast<const char*>(payload.data()), header.bytes);
      return absl::UnavailableError(absl::StrCat("comm: rank ", peer, " is gone: ", why));
    }
    case kData:
      break;
    default:
      return bad;
  }
  if (header.bytes > payload.size() || header.bytes > inbox.bytes.size() - inbox.used) return bad;
  const size_t end = (inbox.begin + inbox.used) % inbox.bytes.size();
  const size_t first = std::min<size_t>(header.bytes, inbox.bytes.size() - end);
  std::memcpy(inbox.bytes.data() + end, payload.data(), first);
  std::memcpy(inbox.bytes.data(), payload.data() + first, header.bytes - first);
  inbox.used += header.bytes;
  return absl::OkStatus();
}

void GlooLinks::Wake() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = write(wake_fd_, &one, sizeof(one));
}

// An abort ends the connections at once, which peers notice; anything else is told to them by the
// destructor, since only the thread that uses the links may write frames.
void GlooLinks::Close(const absl::Status& why) {
  if (!absl::IsCancelled(why)) {
    left_ = why;
    return;
  }
  if (closed_.exchange(true)) return;
  for (int r = 0; r < size(); ++r) {
    if (r != rank_) pairs_->Cut(r);
  }
}

void GlooLinks::SayGoodbye() {
  const std::string why = WhyClosed(left_).substr(0, 200);
  for (int r = 0; r < size(); ++r) {
    if (r == rank_ || !peers_[r].gone.ok()) continue;
    // One that reads nothing notices the end of the connection instead.
    if (pairs_->room(r) < kFrameHeaderBytes + why.size()) continue;
    std::memcpy(pairs_->outgoing(r).data() + kFrameHeaderBytes, why.data(), why.size());
    const FrameHeader header{kMagic, kGoodbye, 0, static_cast<uint32_t>(why.size())};
    SendFrame(r, header, why.size()).IgnoreError();
  }
  if (!left_.ok()) return;
  const auto deadline = steady_clock::now() + kLinger;
  auto somebody = [&] {
    for (int r = 0; r < size(); ++r) {
      if (r != rank_ && peers_[r].gone.ok()) return true;
    }
    return false;
  };
  while (somebody() && steady_clock::now() < deadline) Wait(0, deadline).IgnoreError();
}

}  // namespace tessera::worker
