// Links whose pipes are rings: what threads of one process and processes of one host have in
// common. How to wake a rank, and how to know that it is gone, is the subclass's.
#ifndef TESSERA_WORKER_COMM_RING_LINKS_H_
#define TESSERA_WORKER_COMM_RING_LINKS_H_

#include <vector>

#include "worker/comm/links.h"
#include "worker/comm/ring.h"

namespace tessera::worker {

// Bytes that the rings of a group take: a control block and data for every ordered pair of ranks
// and stream.
size_t RingMemoryBytes(int ranks);

class RingLinks : public Links {
 public:
  // memory: [RingMemoryBytes(size)], zero before the first rank uses it, aligned to 64 bytes and
  // shared by all ranks. Borrowed.
  RingLinks(std::byte* memory, int rank, int size);

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  absl::StatusOr<size_t> TryWrite(int peer, Stream stream, absl::Span<const std::byte> head,
                                  absl::Span<const std::byte> bytes) override;
  absl::StatusOr<size_t> TryRead(int peer, Stream stream, absl::Span<std::byte> bytes) override;

 protected:
  // Makes the peer look at its rings again.
  virtual void Notify(int peer) = 0;
  // OK while the peer may still write; looked at before the ring is read for the last time.
  virtual absl::Status PeerAlive(int peer) = 0;

 private:
  const int rank_;
  const int size_;
  std::vector<Ring> out_;  // index: peer * kStreams + stream
  std::vector<Ring> in_;
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_COMM_RING_LINKS_H_
