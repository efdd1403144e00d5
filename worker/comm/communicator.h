// Exchange of bytes between the ranks of a group. It moves bytes and never adds: sums are finished
// by every rank along the same tree (worker/comm/lane_sum.h), so that no transport can change a
// bit.
#ifndef TESSERA_WORKER_COMM_COMMUNICATOR_H_
#define TESSERA_WORKER_COMM_COMMUNICATOR_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace tessera::worker {

// One rank's end of a group. All ranks call the collectives in the same order, each from one thread
// at a time; Abort may come from any thread. Every call ends within the timeout that the
// communicator was made with: DEADLINE_EXCEEDED names the ranks that did not come, UNAVAILABLE a
// peer that is gone, CANCELLED after Abort. After an error the communicator stays broken: every
// later call returns that first error. INVALID_ARGUMENT (a peer or a count of spans that does not
// exist) breaks nothing.
//
// Point-to-point messages and collectives are separate streams: a Send may be received before or
// after a collective that follows it. Destroying a communicator closes it for its peers.
class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  // recv[r] gets rank r's `send`, also for r = rank(). Sizes may differ between ranks;
  // recv[r].size() must equal the size that rank r sends. `send` may be recv[rank()] itself;
  // otherwise no two spans overlap.
  virtual absl::Status AllGather(absl::Span<const std::byte> send,
                                 absl::Span<const absl::Span<std::byte>> recv) = 0;
  // Rank r gets send[r] in its recv[rank()]; sizes agree pairwise, and may be 0. send[rank()] may
  // be recv[rank()] itself; otherwise no span of `recv` overlaps another span.
  virtual absl::Status AllToAll(absl::Span<const absl::Span<const std::byte>> send,
                                absl::Span<const absl::Span<std::byte>> recv) = 0;
  // Point to point, to another rank; messages of one pair arrive in order, and tag and size are
  // checked against the receiver's (INTERNAL where they differ). Send may return before the peer
  // receives, and does so while no more than kEagerBytes are on their way to it; beyond that it may
  // wait for the peer.
  virtual absl::Status Send(int peer, uint64_t tag, absl::Span<const std::byte> bytes) = 0;
  virtual absl::Status Recv(int peer, uint64_t tag, absl::Span<std::byte> bytes) = 0;
  virtual absl::Status Barrier() = 0;
  // Breaks the communicator, and those made together with it: every wait of this rank ends with
  // CANCELLED and the message of `why`. Peers see UNAVAILABLE or their deadline. Thread-safe.
  virtual void Abort(absl::Status why) = 0;
};

// What a Send may leave on its way without waiting, per pair of ranks, each message counted with 16
// bytes more: the sampled ids of a step fit.
inline constexpr size_t kEagerBytes = 16 << 10;

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_COMM_COMMUNICATOR_H_
