#include "worker/comm/ring_links.h"

#include <array>

#include "shard_loader/status_macros.h"
#include "worker/comm/communicator.h"

namespace tessera::worker {
namespace {

// Bytes of a pipe per stream. Partial sums are the traffic that counts: a one-shot message fits
// several times. Messages between stages are large and rare.
constexpr std::array<size_t, kStreams> kCapacity = {16 << 10, 256 << 10, 128 << 10, 32 << 10};
static_assert(kCapacity[kGroupMessage] >= kEagerBytes);
static_assert(kCapacity[kTensorMessage] >= kEagerBytes);

// Copied at a time: the reader copies one piece while the writer makes the next.
constexpr size_t kPiece = 32 << 10;

constexpr size_t PairBytes() {
  size_t bytes = 0;
  for (size_t capacity : kCapacity) bytes += sizeof(RingControl) + capacity;
  return bytes;
}

Ring MakeRing(std::byte* memory, int64_t pair, int stream) {
  std::byte* at = memory + pair * PairBytes();
  for (int s = 0; s < stream; ++s) at += sizeof(RingControl) + kCapacity[s];
  return Ring(reinterpret_cast<RingControl*>(at), at + sizeof(RingControl), kCapacity[stream]);
}

}  // namespace

size_t RingMemoryBytes(int ranks) {
  return static_cast<size_t>(ranks) * static_cast<size_t>(ranks) * PairBytes();
}

RingLinks::RingLinks(std::byte* memory, int rank, int size)
    : rank_(rank), size_(size), out_(size * kStreams), in_(size * kStreams) {
  for (int peer = 0; peer < size; ++peer) {
    if (peer == rank) continue;
    for (int s = 0; s < kStreams; ++s) {
      out_[peer * kStreams + s] = MakeRing(memory, int64_t{rank} * size + peer, s);
      in_[peer * kStreams + s] = MakeRing(memory, int64_t{peer} * size + rank, s);
    }
  }
}

absl::StatusOr<size_t> RingLinks::TryWrite(int peer, Stream stream,
                                           absl::Span<const std::byte> head,
                                           absl::Span<const std::byte> bytes) {
  RETURN_IF_ERROR(PeerAlive(peer));
  Ring& ring = out_[peer * kStreams + stream];
  ASSIGN_OR_RETURN(size_t n, ring.Write(head));
  if (n == head.size() && !bytes.empty()) {
    ASSIGN_OR_RETURN(const size_t more, ring.Write(bytes.subspan(0, kPiece)));
    n += more;
  }
  if (n > 0) Notify(peer);
  return n;
}

absl::StatusOr<size_t> RingLinks::TryRead(int peer, Stream stream, absl::Span<std::byte> bytes) {
  // Asked first: what a peer wrote before it left is then in the ring.
  absl::Status alive = PeerAlive(peer);
  bool writer_waits = false;
  ASSIGN_OR_RETURN(const size_t n,
                   in_[peer * kStreams + stream].Read(bytes.subspan(0, kPiece), writer_waits));
  if (n == 0 && !alive.ok()) return alive;
  if (writer_waits) Notify(peer);
  return n;
}

}  // namespace tessera::worker
