// The stream to one rank: commands out, replies into the group's mailbox.
#ifndef TESSERA_SERVER_EXECUTOR_RANK_LINK_H_
#define TESSERA_SERVER_EXECUTOR_RANK_LINK_H_

#include <deque>
#include <memory>
#include <string>
#include <thread>

#include <grpcpp/client_context.h>

#include "absl/base/thread_annotations.h"
#include "internal/v1/worker.grpc.pb.h"
#include "server/executor/mailbox.h"
#include "shard_loader/mutex.h"

namespace tessera::server {

// Two threads: one reads, one writes. Thread-safe.
class RankLink {
 public:
  struct Options {
    int rank = 0;
    std::string address;  // as gRPC takes it: "unix:/path", "host:port"
    enum class Reach {
      kOnce,    // one attempt, after which the stream ends
      kStarts,  // of this host: again and again until it listens
      kCutOff,  // that was there before: likewise, each attempt with the time until the next, since
                // what is sent over a network that is cut is lost
    };
    Reach reach = Reach::kOnce;
  };
  // `mailbox` is borrowed. A channel of its own is made for every link.
  RankLink(Options options, Mailbox* mailbox);
  // Cancels the stream.
  ~RankLink();
  RankLink(const RankLink&) = delete;
  RankLink& operator=(const RankLink&) = delete;

  const std::string& address() const { return options_.address; }
  // Queues the command; never blocks. Commands go out in this order; after the end of the stream
  // they are dropped.
  void Send(std::shared_ptr<const internal::v1::Command> command);
  // Ends the stream at once.
  void Cancel() { context_.TryCancel(); }

 private:
  using Stub = internal::v1::Worker::Stub;
  using Stream = grpc::ClientReaderWriterInterface<internal::v1::Command, internal::v1::Reply>;

  void Read();
  void Write(Stream* stream);
  // Null where the stream has ended. Shared by the links of a group: a step is built once for all.
  std::shared_ptr<const internal::v1::Command> NextCommand();
  void CloseQueue();

  const Options options_;
  Mailbox* const mailbox_;
  grpc::ClientContext context_;
  std::unique_ptr<Stub> stub_;

  Mutex mutex_;
  CondVar changed_;
  std::deque<std::shared_ptr<const internal::v1::Command>> commands_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread reader_;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_EXECUTOR_RANK_LINK_H_
