// The gRPC service of a worker: lets one session at a time command its rank.
#ifndef TESSERA_WORKER_APP_WORKER_SERVICE_H_
#define TESSERA_WORKER_APP_WORKER_SERVICE_H_

#include <atomic>
#include <functional>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "internal/v1/worker.grpc.pb.h"
#include "shard_loader/mutex.h"
#include "worker/app/rank.h"
#include "worker/app/session.h"

namespace tessera::worker {

struct WorkerServiceOptions {
  SessionOptions session;
  // A new rank for every session.
  std::function<std::unique_ptr<Rank>()> make_rank;
  // A session was admitted, or has ended; called from gRPC's threads.
  std::function<void()> on_admitted = [] {};
  std::function<void()> on_ended = [] {};
  // How long a new session waits for the one that it replaces to let go of its rank.
  absl::Duration replace_timeout = absl::Seconds(10);
};

// Thread-safe.
class WorkerService final : public internal::v1::Worker::Service {
 public:
  explicit WorkerService(WorkerServiceOptions options) : options_(std::move(options)) {}

  // UNAUTHENTICATED, FAILED_PRECONDITION (another version), ALREADY_EXISTS (a session with this
  // epoch or a higher one is running), RESOURCE_EXHAUSTED (too many peers that prove nothing),
  // UNAVAILABLE (shutting down; or the session before is still busy).
  grpc::Status Session(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<internal::v1::Reply, internal::v1::Command>* stream) override;

  // Ends the session and admits no more.
  void Shutdown();

 private:
  absl::Status Run(WorkerSession& session);
  // Makes `session` the running one, in place of one with a lower epoch.
  absl::Status Admit(WorkerSession& session);
  void Release();

  const WorkerServiceOptions options_;
  std::atomic<int> unproven_ = 0;

  Mutex mutex_;
  CondVar released_;
  WorkerSession* running_ ABSL_GUARDED_BY(mutex_) = nullptr;
  bool shut_down_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_APP_WORKER_SERVICE_H_
