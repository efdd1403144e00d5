#include "client/cli/load_watcher.h"

#include <utility>

namespace tessera::client {
namespace {
constexpr absl::Duration kInterval = absl::Milliseconds(100);
}  // namespace

LoadWatcher::LoadWatcher(std::string target)
    : target_(std::move(target)), thread_([this] { Watch(); }) {}

LoadWatcher::~LoadWatcher() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
    if (stream_ != nullptr) stream_->Cancel();
  }
  thread_.join();
}

LoadProgress LoadWatcher::progress() const {
  MutexLock lock(mutex_);
  return progress_;
}

void LoadWatcher::Watch() {
  auto client = Client::Connect({.target = target_, .wait_for_server = true});
  if (client.ok()) {
    auto stream = (*client)->WatchStatus(kInterval);
    {
      MutexLock lock(mutex_);
      stream_ = stream.get();
      if (stop_) stream->Cancel();
    }
    Follow(*stream);
    MutexLock lock(mutex_);
    stream_ = nullptr;
  }
  MutexLock lock(mutex_);
  progress_.over = true;
}

void LoadWatcher::Follow(Stream<ServerStatus>& stream) {
  while (true) {
    auto status = stream.Next();
    if (!status.ok() || !status->has_value()) return;
    const ServerStatus& server = **status;
    if (server.state == ServerState::kReady || server.state == ServerState::kFailed) return;
    MutexLock lock(mutex_);
    progress_.fraction = LoadFraction(server);
    progress_.what = server.message.empty() ? std::string(ToString(server.state)) : server.message;
  }
}

}  // namespace tessera::client
