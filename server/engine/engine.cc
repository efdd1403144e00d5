#include "server/engine/engine.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/rpc/status.h"
#include "server/engine/steady_deadline.h"
#include "shard_loader/status_macros.h"

namespace tessera::server {

Engine::Engine(const EngineOptions& options, const Tokenizer& tokenizer,
               const std::vector<ReplicaParts>& replicas,
               std::function<void(const EngineCondition&)> on_condition)
    : options_(options), on_condition_(std::move(on_condition)), live_(replicas.size()) {
  for (const ReplicaParts& parts : replicas) {
    const int index = static_cast<int>(replicas_.size());
    Replica::Environment environment{.tokenizer = &tokenizer,
                                     .executor = parts.executor,
                                     .counters = parts.counters,
                                     .on_end = [this](const Request& request) { Ended(request); },
                                     .on_condition = [this] { TellCondition(); },
                                     .on_lost = [this, index] { Lost(index); },
                                     .move = nullptr,
                                     .on_room = nullptr,
                                     .on_stray = nullptr};
    if (replicas.size() > 1) {
      environment.group = absl::StrCat("the group of replica ", index);
      environment.move = [this, index](const MoveOffer& offer,
                                       absl::FunctionRef<MovedRequest()> leave) {
        return Move(index, offer, leave);
      };
      environment.on_room = [this, index] { TellOfRoom(index); };
      environment.on_stray = [this](uint64_t key) { Cancel(key); };
    }
    replicas_.push_back(std::make_unique<Replica>(options, std::move(environment)));
  }
}

Engine::~Engine() {
  {
    MutexLock lock(mutex_);
    ending_ = true;
  }
  for (auto& replica : replicas_) replica->Stop();
}

void Engine::Start() {
  for (auto& replica : replicas_) replica->Start();
}

std::vector<int64_t> Engine::Loads() const {
  // The best that any is: takes requests now; is ready, but tries suspects first; will be ready.
  std::vector<int> how_good;
  for (const auto& replica : replicas_) {
    const EngineState state = replica->condition().state;
    const bool takes = replica->Takes({.need = {}, .urgent = true});
    how_good.push_back(takes                           ? 3
                       : state == EngineState::kReady  ? 2
                       : state != EngineState::kFailed ? 1
                                                       : 0);
  }
  const int best = std::max(1, *std::max_element(how_good.begin(), how_good.end()));
  std::vector<int64_t> loads;
  for (size_t i = 0; i < live_.size(); ++i) loads.push_back(how_good[i] == best ? live_[i] : -1);
  return loads;
}

std::vector<EngineCondition> Engine::Conditions() const {
  std::vector<EngineCondition> conditions;
  for (const auto& replica : replicas_) conditions.push_back(replica->condition());
  return conditions;
}

absl::Status Engine::CheckOpen(const Request& request) const {
  if (draining_) {
    absl::Status status =
        absl::UnavailableError("the server is draining and takes no new requests");
    rpc::SetRetryDelay(status, options_.retry_delay);
    return status;
  }
  if (EngineCondition all = Together(Conditions(), draining_); all.state == EngineState::kFailed) {
    return absl::UnavailableError(absl::StrCat("the model cannot be served: ", all.why));
  }
  if (keys_.count(request.id) > 0) {
    return absl::AlreadyExistsError(absl::StrCat(
        "request_id '", request.id, "' is in use by a request that has not ended; choose another"));
  }
  return CheckQueue(request.prompt.size() + request.continue_from.size());
}

absl::Status Engine::CheckQueue(size_t tokens) const {
  QueueLoad queued;
  absl::Duration wait = absl::InfiniteDuration();
  for (const auto& replica : replicas_) {
    const Replica::Queue queue = replica->queue();
    queued.requests += queue.load.requests;
    queued.tokens += queue.load.tokens;
    wait = std::min(wait, queue.wait);
  }
  absl::Status status;
  if (queued.requests >= options_.max_queue) {
    status = absl::ResourceExhaustedError(
        absl::StrCat("the queue is full: ", options_.max_queue,
                     " requests (--max-queue) wait for their first step; try again later"));
    // One that is longer than the whole queue may still come when it is empty.
  } else if (queued.tokens > 0 && queued.tokens + tokens > options_.max_queue_tokens) {
    status = absl::ResourceExhaustedError(
        absl::StrCat("the queue is full: prompts of ", queued.tokens,
                     " tokens wait for their first step, ", tokens, " more would exceed ",
                     options_.max_queue_tokens, " (--max-queue-tokens); try again later"));
  }
  // It has room again when some of it has left.
  if (!status.ok()) {
    rpc::SetRetryDelay(status, std::clamp(wait / 4, options_.retry_delay, kLongestWait));
  }
  return status;
}

std::vector<uint64_t> Engine::BeginningsOf(const Request& request) const {
  if (replicas_.size() == 1) return {};
  return PrefixRouter::Beginnings(options_.isolate_tenants ? request.tenant : "", request.prompt);
}

absl::StatusOr<uint64_t> Engine::Submit(Request request, std::shared_ptr<ResponseStream> stream) {
  const std::vector<uint64_t> beginnings = BeginningsOf(request);
  MutexLock lock(mutex_);
  RETURN_IF_ERROR(CheckOpen(request));
  // CheckOpen has found one that is there or will be; it may just have failed.
  const int chosen = std::max(0, router_.Choose(beginnings, Loads()));
  router_.Sent(beginnings, chosen);
  const uint64_t key = next_key_++;
  keys_[request.id] = key;
  places_[key] = chosen;
  ++live_[chosen];
  request.arrival = absl::Now();
  replicas_[chosen]->Submit(key, std::move(request), std::move(stream));
  return key;
}

void Engine::Cancel(uint64_t key) {
  MutexLock lock(mutex_);
  auto place = places_.find(key);
  if (place != places_.end()) replicas_[place->second]->Cancel(key);
}

void Engine::Ended(const Request& request) {
  MutexLock lock(mutex_);
  auto key = keys_.find(request.id);
  auto place = places_.find(key->second);
  --live_[place->second];
  places_.erase(place);
  keys_.erase(key);
  if (keys_.empty()) live_changed_.NotifyAll();
}

int Engine::WhoTakes(int from, const MoveOffer& offer) const {
  int to = -1;
  for (int i = 0; !ending_ && i < static_cast<int>(replicas_.size()); ++i) {
    if (i == from || (to >= 0 && live_[i] >= live_[to])) continue;
    if (replicas_[i]->Takes(offer)) to = i;
  }
  return to;
}

bool Engine::Move(int from, const MoveOffer& offer, absl::FunctionRef<MovedRequest()> leave) {
  {
    MutexLock lock(mutex_);
    if (WhoTakes(from, offer) < 0) return false;
  }
  // The prompt is hashed where it holds up nobody else.
  const std::vector<uint64_t> beginnings = BeginningsOf(*offer.request);
  MutexLock lock(mutex_);
  const int to = WhoTakes(from, offer);
  if (to < 0) return false;
  MovedRequest moved = leave();
  router_.Sent(beginnings, to);
  places_[moved.key] = to;
  --live_[from];
  ++live_[to];
  replicas_[to]->Adopt(std::move(moved), offer.need);
  return true;
}

void Engine::TellOfRoom(int replica) {
  for (int i = 0; i < static_cast<int>(replicas_.size()); ++i) {
    if (i != replica) replicas_[i]->AskForOffers();
  }
}

void Engine::Lost(int replica) {
  MutexLock lock(mutex_);
  router_.Forget(replica);
}

void Engine::BeginDrain() {
  {
    MutexLock lock(mutex_);
    draining_ = true;
  }
  TellCondition();
}

bool Engine::FinishDrain(absl::Time deadline) {
  MutexLock lock(mutex_);
  while (!keys_.empty() && !cut_ && absl::Now() < deadline) {
    live_changed_.WaitUntil(mutex_, ToSteady(deadline));
  }
  if (keys_.empty()) return true;
  for (auto& replica : replicas_) {
    replica->CutOff(absl::UnavailableError("the server is ending; the time to drain is over"));
  }
  // The replicas' threads never block, so this ends soon.
  while (!keys_.empty()) live_changed_.Wait(mutex_);
  return false;
}

void Engine::CutDrain() {
  MutexLock lock(mutex_);
  cut_ = true;
  live_changed_.NotifyAll();
}

EngineCondition Engine::condition() const {
  const std::vector<EngineCondition> conditions = Conditions();
  MutexLock lock(mutex_);
  return Together(conditions, draining_);
}

size_t Engine::num_live() const {
  MutexLock lock(mutex_);
  return keys_.size();
}

std::string Engine::numerics_id() const {
  for (const auto& replica : replicas_) {
    std::string id = replica->numerics_id();
    if (!id.empty()) return id;
  }
  return "";
}

void Engine::TellCondition() {
  MutexLock lock(tell_mutex_);
  EngineCondition now = condition();
  if (now == told_) return;
  told_ = now;
  on_condition_(now);
}

}  // namespace tessera::server
