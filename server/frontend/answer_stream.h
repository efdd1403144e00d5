// One Generate or Chat call on gRPC's callback API.
#ifndef TESSERA_SERVER_FRONTEND_ANSWER_STREAM_H_
#define TESSERA_SERVER_FRONTEND_ANSWER_STREAM_H_

#include <cstdint>
#include <deque>
#include <memory>

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include "server/engine/engine.h"
#include "server/engine/response_stream.h"
#include "server/frontend/convert.h"
#include "server/frontend/writer_pool.h"
#include "shard_loader/mutex.h"
#include "tessera/v1/inference.pb.h"

namespace tessera::server {

// Writes the events of a ResponseStream, one at a time: a client that does not read leaves them in
// the ResponseStream, whose bound is the engine's to keep. Thread-safe.
class AnswerStream : public grpc::ServerWriteReactor<v1::GenerateResponse>,
                     public std::enable_shared_from_this<AnswerStream> {
 public:
  // Submits `request` and returns the reactor of its call; it keeps itself alive until the call is
  // over. Where the engine refuses, the call ends with the reason.
  static grpc::ServerWriteReactor<v1::GenerateResponse>* Start(
      Engine& engine, WriterPool& writers, Request request, AnswerFormat format,
      grpc::CallbackServerContext& context);
  // A reactor that ends its call with `status`.
  static grpc::ServerWriteReactor<v1::GenerateResponse>* Refuse(const absl::Status& status);

  AnswerStream(Engine& engine, WriterPool& writers, AnswerFormat format,
               grpc::CallbackServerContext& context);

  // Writes the next event, or goes to rest. For the writer that Wake has asked for it.
  void WriteNext();

 private:
  void Submit(Request request);
  // Something may have come: has it written, unless a write is under way. Called on the engine's
  // thread.
  void Wake();
  // True, and busy_ is given up, where nothing came since the stream was found empty.
  bool Rest();

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  Engine& engine_;
  WriterPool& writers_;
  const AnswerFormat format_;
  grpc::CallbackServerContext& context_;  // valid until OnDone
  // Shared with the engine.
  const std::shared_ptr<ResponseStream> stream_;
  std::shared_ptr<AnswerStream> self_;  // until OnDone
  uint64_t key_ = 0;                    // gRPC reacts only after Start has returned

  Mutex mutex_;
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;   // a write is under way, or being made
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;  // while it was
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  // Of the one who has busy_.
  std::deque<v1::GenerateResponse> responses_;  // the first is being written
  bool broken_ = false;                         // the client can no longer be written to
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_FRONTEND_ANSWER_STREAM_H_
