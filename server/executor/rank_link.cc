#include "server/executor/rank_link.h"

#include <utility>

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include "proto/rpc/status.h"

namespace tessera::server {
namespace {

constexpr int kMaxMessageBytes = 64 << 20;

using Reach = RankLink::Options::Reach;

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address, Reach reach) {
  const bool cut_off = reach == Reach::kCutOff;
  grpc::ChannelArguments arguments;
  // A channel of another epoch, with its state and its back-off, is never reused.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // Not less than gRPC takes.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  // This one is the time that an attempt gets, also on a machine that is busy with something else;
  // but at least the time until the next one.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, cut_off ? 100 : 10000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, cut_off ? 2000 : 500);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 10000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000);
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetMaxSendMessageSize(kMaxMessageBytes);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace

RankLink::RankLink(Options options, Mailbox* mailbox)
    : options_(std::move(options)),
      mailbox_(mailbox),
      stub_(internal::v1::Worker::NewStub(MakeChannel(options_.address, options_.reach))) {
  context_.set_wait_for_ready(options_.reach != Reach::kOnce);
  reader_ = std::thread([this] { Read(); });
}

RankLink::~RankLink() {
  Cancel();
  reader_.join();
}

void RankLink::Send(std::shared_ptr<const internal::v1::Command> command) {
  MutexLock lock(mutex_);
  if (closed_) return;
  commands_.push_back(std::move(command));
  changed_.NotifyOne();
}

void RankLink::Read() {
  // Waits for the connection where the options say so; Cancel ends that too.
  std::unique_ptr<Stream> stream = stub_->Session(&context_);
  std::thread writer([this, &stream] { Write(stream.get()); });
  GroupEvent event{.kind = GroupEvent::Kind::kReply, .rank = options_.rank};
  while (stream->Read(&event.reply)) {
    mailbox_->Put(
        std::exchange(event, GroupEvent{.kind = GroupEvent::Kind::kReply, .rank = options_.rank}));
  }
  // The stream is over for both directions: a Write that waits for the peer's window fails too.
  // Cancelling it here would hide the status that the worker has sent.
  CloseQueue();
  writer.join();
  absl::Status status = rpc::FromGrpc(stream->Finish());
  mailbox_->Put({.kind = GroupEvent::Kind::kStreamEnded, .rank = options_.rank, .status = status});
}

void RankLink::Write(Stream* stream) {
  while (std::shared_ptr<const internal::v1::Command> command = NextCommand()) {
    if (!stream->Write(*command)) CloseQueue();
  }
}

std::shared_ptr<const internal::v1::Command> RankLink::NextCommand() {
  MutexLock lock(mutex_);
  while (commands_.empty() && !closed_) changed_.Wait(mutex_);
  if (closed_) return nullptr;
  auto command = std::move(commands_.front());
  commands_.pop_front();
  return command;
}

void RankLink::CloseQueue() {
  MutexLock lock(mutex_);
  closed_ = true;
  commands_.clear();
  changed_.NotifyAll();
}

}  // namespace tessera::server
