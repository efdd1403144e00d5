#include "server/frontend/answer_stream.h"

#include <optional>
#include <utility>
#include <variant>

#include "proto/rpc/status.h"

namespace tessera::server {
namespace {

class RefusedStream : public grpc::ServerWriteReactor<v1::GenerateResponse> {
 public:
  explicit RefusedStream(const absl::Status& status) { Finish(rpc::ToGrpc(status)); }

 private:
  void OnDone() override { delete this; }  // gRPC lets go of it here
};

}  // namespace

grpc::ServerWriteReactor<v1::GenerateResponse>* AnswerStream::Refuse(const absl::Status& status) {
  return new RefusedStream(status);
}

grpc::ServerWriteReactor<v1::GenerateResponse>* AnswerStream::Start(
    Engine& engine, WriterPool& writers, Request request, AnswerFormat format,
    grpc::CallbackServerContext& context) {
  auto stream = std::make_shared<AnswerStream>(engine, writers, std::move(format), context);
  AnswerStream* reactor = stream.get();
  reactor->Submit(std::move(request));
  return reactor;
}

AnswerStream::AnswerStream(Engine& engine, WriterPool& writers, AnswerFormat format,
                           grpc::CallbackServerContext& context)
    : engine_(engine),
      writers_(writers),
      format_(std::move(format)),
      context_(context),
      stream_(std::make_shared<ResponseStream>(engine.options().max_buffered_bytes)) {}

void AnswerStream::Submit(Request request) {
  self_ = shared_from_this();
  stream_->SetAvailable([weak = weak_from_this()] {
    if (auto self = weak.lock()) self->Wake();
  });
  absl::StatusOr<uint64_t> key = engine_.Submit(std::move(request), stream_);
  if (key.ok()) {
    key_ = *key;
  } else {
    stream_->End(key.status());
  }
}

void AnswerStream::Wake() {
  bool discarded = stream_->discarded();
  {
    MutexLock lock(mutex_);
    if (finished_) return;
    if (busy_) {
      woken_ = true;
      // The write under way waits for a client that has been given up.
      if (discarded) context_.TryCancel();
      return;
    }
    busy_ = true;
  }
  writers_.Add(shared_from_this());
}

bool AnswerStream::Rest() {
  MutexLock lock(mutex_);
  if (std::exchange(woken_, false)) return false;
  busy_ = false;
  return true;
}

void AnswerStream::WriteNext() {
  while (true) {
    if (!responses_.empty()) {
      StartWrite(&responses_.front());
      return;
    }
    std::optional<ResponseEvent> event = stream_->Take();
    if (!event) {
      if (Rest()) return;
      continue;
    }
    if (const auto* status = std::get_if<absl::Status>(&*event)) {
      {
        MutexLock lock(mutex_);
        finished_ = true;
      }
      Finish(rpc::ToGrpc(*status));
      return;
    }
    if (broken_) continue;
    for (v1::GenerateResponse& response : ToResponses(*event, format_)) {
      responses_.push_back(std::move(response));
    }
  }
}

void AnswerStream::OnWriteDone(bool ok) {
  responses_.pop_front();
  if (!ok) {
    broken_ = true;
    responses_.clear();
    engine_.Cancel(key_);
  }
  WriteNext();
}

void AnswerStream::OnCancel() { engine_.Cancel(key_); }

void AnswerStream::OnDone() {
  auto self = std::move(self_);  // destroyed at the end of this function
}

}  // namespace tessera::server
