#include "client/lib/many_streams.h"

#include <unordered_set>
#include <utility>
#include <vector>

#include <grpcpp/support/client_callback.h>

#include "absl/base/thread_annotations.h"
#include "client/lib/channel.h"
#include "client/lib/convert.h"
#include "shard_loader/mutex.h"
#include "shard_loader/status_macros.h"
#include "tessera/v1/inference.grpc.pb.h"

namespace tessera::client {
namespace {

struct Connection {
  std::shared_ptr<grpc::Channel> channel;  // shared with the stub
  std::unique_ptr<v1::Inference::Stub> stub;
};

}  // namespace

class ManyStreams::Impl {
 public:
  // One call; gRPC lets go of it in OnDone.
  class Call : public grpc::ClientReadReactor<v1::GenerateResponse> {
   public:
    Call(Impl& owner, Connection& connection, const GenerateOptions& options,
         StreamObserver* observer)
        : owner_(owner),
          channel_(*connection.channel),
          observer_(observer),
          request_(ToProto(options)) {
      SetTimeout(options.timeout, context_);
      connection.stub->async()->Generate(&context_, &request_, this);
    }
    void Start() {
      StartRead(&response_);
      StartCall();
    }
    void Cancel() { context_.TryCancel(); }

   private:
    void OnReadDone(bool ok) override {
      if (!ok) return;
      if (response_.has_delta()) {
        const v1::Delta& delta = response_.delta();
        observer_->OnDelta(static_cast<size_t>(delta.token_ids_size()), delta.text().size());
      } else if (response_.has_finished()) {
        const v1::Usage& usage = response_.finished().usage();
        observer_->OnFinished(
            {usage.prompt_tokens(), usage.completion_tokens(), usage.cached_tokens()});
      } else {
        observer_->OnAccepted();
      }
      StartRead(&response_);
    }
    void OnDone(const grpc::Status& status) override {
      observer_->OnEnd(status.ok() ? absl::OkStatus() : ErrorOf(status, channel_));
      owner_.Remove(this);  // destroys this
    }

    Impl& owner_;
    grpc::Channel& channel_;
    StreamObserver* const observer_;
    const v1::GenerateRequest request_;
    grpc::ClientContext context_;
    v1::GenerateResponse response_;
  };

  std::vector<Connection> connections_;

  void Generate(const GenerateOptions& options, StreamObserver* observer) {
    Call* call = nullptr;
    {
      MutexLock lock(mutex_);
      Connection& connection = connections_[next_++ % connections_.size()];
      call = new Call(*this, connection, options, observer);  // deleted in Remove
      calls_.insert(call);
      ++alive_;
    }
    call->Start();
  }
  void Remove(Call* call) {
    {
      // Before it is deleted: a new one may get its place in memory.
      MutexLock lock(mutex_);
      calls_.erase(call);
    }
    delete call;
    MutexLock lock(mutex_);
    if (--alive_ == 0) ended_.NotifyAll();
  }
  void CancelAll() {
    MutexLock lock(mutex_);
    for (Call* call : calls_) call->Cancel();
  }
  // A cancelled call ends by itself.
  void AwaitEnd() {
    MutexLock lock(mutex_);
    while (alive_ > 0) ended_.Wait(mutex_);
  }

 private:
  Mutex mutex_;
  CondVar ended_;
  size_t next_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t alive_ ABSL_GUARDED_BY(mutex_) = 0;
  std::unordered_set<Call*> calls_ ABSL_GUARDED_BY(mutex_);  // not ended yet
};

absl::StatusOr<std::unique_ptr<ManyStreams>> ManyStreams::Connect(const ClientOptions& options,
                                                                  int connections) {
  auto impl = std::make_unique<Impl>();
  for (int i = 0; i < connections; ++i) {
    Connection connection;
    RETURN_IF_ERROR(OpenChannel(options, connection.channel));
    connection.stub = v1::Inference::NewStub(connection.channel);
    impl->connections_.push_back(std::move(connection));
  }
  return std::unique_ptr<ManyStreams>(new ManyStreams(std::move(impl)));
}

ManyStreams::ManyStreams(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

ManyStreams::~ManyStreams() {
  impl_->CancelAll();
  impl_->AwaitEnd();
}

void ManyStreams::Generate(const GenerateOptions& options, StreamObserver* observer) {
  impl_->Generate(options, observer);
}

void ManyStreams::CancelAll() { impl_->CancelAll(); }

}  // namespace tessera::client
