// One session of a worker with its frontend (internal/v1/worker.proto).
#ifndef TESSERA_WORKER_APP_SESSION_H_
#define TESSERA_WORKER_APP_SESSION_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <grpcpp/server_context.h>
#include <grpcpp/support/sync_stream.h>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "internal/v1/worker.pb.h"
#include "shard_loader/mutex.h"
#include "worker/app/rank.h"
#include "worker/app/session_store.h"

namespace tessera::worker {

struct SessionOptions {
  std::string secret;
  std::string version;  // of the program; the frontend must be of the same one
  absl::Duration handshake_timeout = absl::Seconds(10);
  absl::Duration heartbeat_interval = absl::Milliseconds(250);
};

// Three threads: gRPC's, which reads (Authenticate, then Serve); one that carries the commands out
// in their order; one that sends heartbeats.
class WorkerSession {
 public:
  using Stream = grpc::ServerReaderWriterInterface<internal::v1::Reply, internal::v1::Command>;

  // `options`, `context` and `stream` are borrowed.
  WorkerSession(const SessionOptions& options, grpc::ServerContext* context, Stream* stream)
      : options_(options), context_(context), stream_(stream) {}
  WorkerSession(const WorkerSession&) = delete;
  WorkerSession& operator=(const WorkerSession&) = delete;

  // Proves the secret both ways, but does not welcome the frontend yet. UNAUTHENTICATED,
  // FAILED_PRECONDITION for another version, DEADLINE_EXCEEDED, INVALID_ARGUMENT for a peer that
  // says something else.
  absl::Status Authenticate();
  uint64_t epoch() const { return epoch_; }

  // Welcomes the frontend and carries out its commands with `rank`, until it leaves or is gone.
  void Serve(std::unique_ptr<Rank> rank);

  // Ends the session from any thread: what is under way is aborted.
  void Cancel() { context_->TryCancel(); }

 private:
  using Command = internal::v1::Command;
  using Reply = internal::v1::Reply;

  absl::Status Handshake();
  // Commands in, until Leave or the end of the stream.
  void Read();
  // The commanded ones, on their own thread.
  void Work();
  absl::Status Execute(const Command& command);
  absl::Status Load(const internal::v1::Load& load);
  absl::Status RunStep(const internal::v1::Step& step);
  // Adds what this rank worked and waited since its last answer.
  void TimeStep(internal::v1::StepResult* result);
  void Push(Command command);
  // The next command; none where the queue is closed, or nothing has come within `limit`.
  std::optional<Command> Pop(absl::Duration limit);
  bool closed();
  absl::Status Answer(const absl::StatusOr<std::vector<internal::v1::StepResult>>& results);
  void CloseQueue();
  void Heartbeat();
  // False where the stream is broken.
  bool Write(const Reply& reply);

  const SessionOptions& options_;
  grpc::ServerContext* const context_;
  Stream* const stream_;
  uint64_t epoch_ = 0;

  std::unique_ptr<Rank> rank_;
  std::unique_ptr<SessionStore> store_;
  std::atomic<uint64_t> bytes_loaded_ = 0;
  std::atomic<bool> busy_ = false;
  // Of the thread that carries commands out:
  absl::Duration step_time_ = absl::ZeroDuration();  // in steps since the last answer
  std::optional<absl::Time> last_step_end_;

  Mutex write_mutex_;  // one writer at a time

  Mutex mutex_;
  CondVar changed_;
  std::deque<Command> commands_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_APP_SESSION_H_
