// Connections of one rank to all others over Gloo's TCP transport, in its synchronous mode: whole
// frames, written and read by the calling thread. Gloo's headers stay in the .cc file.
#ifndef TESSERA_WORKER_COMM_GLOO_PAIRS_H_
#define TESSERA_WORKER_COMM_GLOO_PAIRS_H_

#include <cstddef>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "worker/comm/gloo_communicator.h"

namespace tessera::worker {

// Bytes of the largest frame.
inline constexpr size_t kGlooFrameBytes = 64 << 10;

// Used by one thread, except for Cut. Gloo's exceptions end here.
class GlooPairs {
 public:
  // Connects to all peers, which do the same.
  static absl::StatusOr<std::unique_ptr<GlooPairs>> Connect(const GlooOptions& options);
  ~GlooPairs();

  int size() const;
  // A socket that is readable when a frame, or the peer's end, has come. Owned by this object.
  int socket(int peer) const;
  // [kGlooFrameBytes]: where a frame to this peer is made, and where one from it lies until the
  // next Receive.
  absl::Span<std::byte> outgoing(int peer);
  absl::Span<const std::byte> incoming(int peer) const;

  // Bytes that Send can hand to the kernel now without waiting for the peer to read.
  size_t room(int peer) const;
  // Sends the first `bytes` of outgoing(peer). Returns when the kernel has taken them.
  absl::Status Send(int peer, size_t bytes);
  // Reads one frame into incoming(peer); call it when the socket is readable. UNAVAILABLE: the
  // connection has ended.
  absl::Status Receive(int peer);
  // Ends the connection, also under a thread that reads it. Thread-safe.
  void Cut(int peer);

 private:
  struct Impl;
  explicit GlooPairs(std::unique_ptr<Impl> impl);

  const std::unique_ptr<Impl> impl_;
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_COMM_GLOO_PAIRS_H_
