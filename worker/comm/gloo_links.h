// Links over connections that carry frames: streams share a connection, and each may have so much
// on its way that a write never has to wait for the peer.
#ifndef TESSERA_WORKER_COMM_GLOO_LINKS_H_
#define TESSERA_WORKER_COMM_GLOO_LINKS_H_

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "worker/comm/gloo_pairs.h"
#include "worker/comm/links.h"

namespace tessera::worker {

class GlooLinks : public Links {
 public:
  GlooLinks(std::unique_ptr<GlooPairs> pairs, int rank);
  // Says good-bye, and stays a moment for peers that have not read everything.
  ~GlooLinks() override;

  // Exchanges first frames with all peers, and compares shape and version.
  absl::Status Greet(int tp, Deadline deadline);

  int rank() const override { return rank_; }
  int size() const override { return pairs_->size(); }
  absl::StatusOr<size_t> TryWrite(int peer, Stream stream, absl::Span<const std::byte> head,
                                  absl::Span<const std::byte> bytes) override;
  absl::StatusOr<size_t> TryRead(int peer, Stream stream, absl::Span<std::byte> bytes) override;
  uint64_t Ticket() override { return 0; }
  absl::Status Wait(uint64_t ticket, Deadline deadline) override;
  void Wake() override;
  void Close(const absl::Status& why) override;

 private:
  struct FrameHeader;
  // What has come of a stream and is not read yet.
  struct Inbox {
    std::vector<std::byte> bytes;  // a ring of the stream's window
    size_t begin = 0;
    size_t used = 0;
    size_t unacknowledged = 0;  // read, and not told to the sender
  };
  struct Peer {
    std::array<Inbox, kStreams> inbox;
    std::array<size_t, kStreams> on_the_way = {};  // sent, and not acknowledged
    absl::Status gone;                             // why nothing comes any more
    uint32_t greeted_tp = 0;
  };

  absl::Status SendFrame(int peer, const FrameHeader& header, size_t payload);
  // Reads one frame of each socket that has one; false where none had.
  bool ReadFrames(int timeout_ms);
  void TakeFrame(int peer);
  absl::Status Sort(int peer, const FrameHeader& header, absl::Span<const std::byte> payload);
  // Tells the peer what was read, where that is due and its socket has room; else the next Wait
  // tries again.
  void Acknowledge(int peer);
  void SayGoodbye();

  const std::unique_ptr<GlooPairs> pairs_;
  const int rank_;
  const int wake_fd_;
  std::vector<Peer> peers_;
  std::atomic<bool> closed_{false};
  absl::Status left_;  // why this rank leaves
  bool full_ = false;  // a socket had no room since the last Wait
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_COMM_GLOO_LINKS_H_
