#include "server/engine/response_stream.h"

#include <utility>

namespace tessera::server {
namespace {

size_t TokensBytes(const std::vector<Token>& tokens) {
  size_t bytes = tokens.size() * sizeof(Token);
  for (const Token& token : tokens) bytes += token.top.size() * sizeof(TopToken);
  return bytes;
}

}  // namespace

size_t ResponseStream::Bytes(const ResponseEvent& event) {
  size_t bytes = sizeof(ResponseEvent);
  if (const auto* delta = std::get_if<DeltaEvent>(&event)) {
    bytes += delta->text.size() + TokensBytes(delta->tokens);
  } else if (const auto* accepted = std::get_if<AcceptedEvent>(&event)) {
    bytes += TokensBytes(accepted->prompt_logprobs);
  }
  return bytes;
}

void ResponseStream::SetAvailable(std::function<void()> available) {
  MutexLock lock(mutex_);
  available_ = std::make_shared<const std::function<void()>>(std::move(available));
}

void ResponseStream::SetDrained(std::function<void()> drained) {
  MutexLock lock(mutex_);
  drained_ = std::move(drained);
}

std::optional<ResponseEvent> ResponseStream::Take() {
  std::optional<ResponseEvent> event;
  std::function<void()> drained;
  {
    MutexLock lock(mutex_);
    if (events_.empty()) return std::nullopt;
    event = std::move(events_.front());
    events_.pop_front();
    bytes_ -= Bytes(*event);
    if (was_full_ && bytes_ <= max_bytes_ / 2) {
      was_full_ = false;
      drained = drained_;
    }
  }
  if (drained) drained();
  return event;
}

bool ResponseStream::discarded() const {
  MutexLock lock(mutex_);
  return discarded_;
}

void ResponseStream::Append(ResponseEvent event) {
  auto* delta = std::get_if<DeltaEvent>(&event);
  auto* last = events_.empty() ? nullptr : std::get_if<DeltaEvent>(&events_.back());
  if (delta != nullptr && last != nullptr && last->index == delta->index) {
    bytes_ += Bytes(event) - sizeof(ResponseEvent);
    last->text += delta->text;
    last->tokens.insert(last->tokens.end(), std::make_move_iterator(delta->tokens.begin()),
                        std::make_move_iterator(delta->tokens.end()));
  } else {
    bytes_ += Bytes(event);
    events_.push_back(std::move(event));
  }
  was_full_ = was_full_ || bytes_ > max_bytes_;
}

void ResponseStream::Push(ResponseEvent event) {
  std::shared_ptr<const std::function<void()>> available;
  {
    MutexLock lock(mutex_);
    if (ended_) return;
    Append(std::move(event));
    available = available_;
  }
  if (available) (*available)();
}

void ResponseStream::End(absl::Status status, bool discard) {
  std::shared_ptr<const std::function<void()>> available;
  {
    MutexLock lock(mutex_);
    if (ended_) return;
    ended_ = true;
    if (discard) {
      discarded_ = true;
      events_.clear();
      bytes_ = 0;
    }
    Append(std::move(status));
    available = std::move(available_);
    available_ = nullptr;
    drained_ = nullptr;
  }
  if (available) (*available)();
}

bool ResponseStream::full() const {
  MutexLock lock(mutex_);
  return was_full_;
}

}  // namespace tessera::server
