// Byte pipes from one rank to every other: what a transport provides. Everything above bytes
// (collectives, tags, deadlines, the names of missing ranks) is MeshCommunicator's, once for all
// transports.
#ifndef TESSERA_WORKER_COMM_LINKS_H_
#define TESSERA_WORKER_COMM_LINKS_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"

namespace tessera::worker {

// Between two ranks run independent streams, so that a message that nobody waits for yet holds up
// none of another stream.
enum Stream : int {
  kGroupCollective = 0,
  kGroupMessage = 1,
  kTensorCollective = 2,  // only between ranks of one stage
  kTensorMessage = 3,
};
inline constexpr int kStreams = 4;

// Used by one thread at a time, except for Wake and Close, which are thread-safe. No method but
// Wait waits. Destruction closes the links for the peers.
class Links {
 public:
  using Deadline = std::chrono::steady_clock::time_point;

  virtual ~Links() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  // Takes a prefix of `head` followed by `bytes`, and returns its length: 0 where the pipe is full.
  // Every pipe of messages takes kEagerBytes, headers included, before it is full. UNAVAILABLE: the
  // peer is gone.
  virtual absl::StatusOr<size_t> TryWrite(int peer, Stream stream, absl::Span<const std::byte> head,
                                          absl::Span<const std::byte> bytes) = 0;
  // Fills a prefix of `bytes`, and returns its length: 0 where nothing has come. UNAVAILABLE: the
  // peer is gone, and everything that it had sent is read.
  virtual absl::StatusOr<size_t> TryRead(int peer, Stream stream, absl::Span<std::byte> bytes) = 0;

  // A count of what has happened. Take it before a round of tries, and give it to Wait after.
  virtual uint64_t Ticket() = 0;
  // Returns when something has happened since `ticket` (bytes, room, a peer's end, Wake), at
  // `deadline`, or for no reason. Errors are those of this rank's own transport.
  virtual absl::Status Wait(uint64_t ticket, Deadline deadline) = 0;
  virtual void Wake() = 0;
  // Tells the peers that this rank is leaving: in good order (OK), or for an error that is shown to
  // them where the transport can carry it. The first call counts. From another thread than the one
  // that uses the links it comes with CANCELLED only.
  virtual void Close(const absl::Status& why) = 0;
};

// What the peers are told of a rank that has closed its links.
inline std::string WhyClosed(const absl::Status& why) {
  return why.ok() ? "it left the group" : absl::StrCat("it failed: ", why.message());
}

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_COMM_LINKS_H_
