#include "server/engine/replica.h"

#include <time.h>

#include <utility>

#include "server/engine/steady_deadline.h"

namespace tessera::server {
namespace {

// Of the calling thread.
uint64_t ThreadCpuNanoseconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec);
}

}  // namespace

Replica::Replica(const EngineOptions& options, Environment environment)
    : environment_(std::move(environment)),
      core_(options,
            {.tokenizer = environment_.tokenizer,
             .executor = environment_.executor,
             .counters = environment_.counters,
             .losses = &losses_,
             .group = environment_.group,
             .on_end = environment_.on_end,
             .on_drained =
                 [this](uint64_t key) { Post([key](EngineCore& core) { core.Drained(key); }); },
             .move = environment_.move}),
      thread_([this] { Run(); }) {}

Replica::~Replica() { Stop(); }

void Replica::Start() { environment_.executor->Start(this); }

void Replica::Stop() {
  if (!thread_.joinable()) return;
  {
    MutexLock lock(mutex_);
    stop_ = true;
    inbox_changed_.NotifyAll();
  }
  thread_.join();
  std::deque<Message> rest;
  {
    MutexLock lock(mutex_);
    rest = std::exchange(inbox_, {});
  }
  for (Message& message : rest) message(core_);
  core_.CancelAll(absl::CancelledError("the server is ending"));
}

void Replica::Submit(uint64_t key, Request request, std::shared_ptr<ResponseStream> stream) {
  MutexLock lock(mutex_);
  ++on_the_way_.requests;
  on_the_way_.tokens += request.prompt.size() + request.continue_from.size();
  PostLocked(
      [key, request = std::move(request), stream = std::move(stream)](EngineCore& core) mutable {
        core.Submit(key, std::move(request), std::move(stream));
      });
}

void Replica::Cancel(uint64_t key) {
  Post([this, key](EngineCore& core) {
    const bool here = core.Cancel(key, absl::CancelledError("the client has left"));
    if (!here && environment_.on_stray) environment_.on_stray(key);
  });
}

bool Replica::Takes(const MoveOffer& offer) const {
  MutexLock lock(mutex_);
  if (!group_ready_ || !takes_others_) return false;
  Room room = room_;
  room.Take(arriving_);
  return offer.urgent || room.Holds(offer.need);
}

void Replica::Adopt(MovedRequest moved, const Room& need) {
  MutexLock lock(mutex_);
  arriving_.Add(need);
  if (moved.live->queued) {
    ++on_the_way_.requests;
    on_the_way_.tokens += moved.live->queued_tokens;
  }
  // shared_ptr: std::function must be copyable; the message alone holds it.
  auto shared = std::make_shared<MovedRequest>(std::move(moved));
  PostLocked([shared](EngineCore& core) { core.Adopt(std::move(*shared)); });
}

void Replica::AskForOffers() {
  MutexLock lock(mutex_);
  asked_ = true;
  OfferWhereAsked();
}

void Replica::OfferWhereAsked() {
  if (!asked_ || !has_offers_) return;
  asked_ = false;
  PostLocked([](EngineCore& core) { core.OfferElsewhere(); });
}

void Replica::Publish() {
  bool more_room;
  {
    MutexLock lock(mutex_);
    queue_ = core_.queue();
    queue_wait_ = core_.queue_wait();
    has_offers_ = core_.has_offers();
    OfferWhereAsked();
    takes_others_ = core_.takes_others();
    const Room room = core_.room();
    more_room = room.sequences > room_.sequences || room.blocks > room_.blocks;
    room_ = room;
  }
  if (more_room && environment_.on_room) environment_.on_room();
}

void Replica::CutOff(const absl::Status& status) {
  Post([status](EngineCore& core) { core.CutOff(status); });
}

EngineCondition Replica::condition() const {
  MutexLock lock(mutex_);
  return condition_;
}

std::string Replica::numerics_id() const {
  MutexLock lock(mutex_);
  return numerics_id_;
}

Replica::Queue Replica::queue() const {
  MutexLock lock(mutex_);
  return {{queue_.requests + on_the_way_.requests, queue_.tokens + on_the_way_.tokens},
          queue_wait_};
}

void Replica::SetCondition(EngineState state, const std::string& why) {
  {
    MutexLock lock(mutex_);
    condition_.state = state;
    condition_.why = why;
    condition_.was_ready = condition_.was_ready || state == EngineState::kReady;
  }
  environment_.on_condition();
}

void Replica::OnReady(uint64_t epoch, const GroupFacts& facts) {
  MutexLock lock(mutex_);
  numerics_id_ = facts.numerics_id;
  group_ready_ = true;
  PostLocked([this, epoch, facts](EngineCore& core) {
    core.OnReady(epoch, facts, absl::Now());
    Publish();  // whoever is told that it is ready finds it so
    SetCondition(EngineState::kReady, "");
  });
}

void Replica::OnStep(uint64_t epoch, StepResult result) {
  // shared_ptr: std::function must be copyable; the message alone holds it.
  auto shared = std::make_shared<StepResult>(std::move(result));
  Post([epoch, shared](EngineCore& core) { core.OnStep(epoch, std::move(*shared)); });
}

void Replica::OnLost(uint64_t epoch, const absl::Status& why) {
  MutexLock lock(mutex_);
  group_ready_ = false;
  PostLocked([this, epoch, why](EngineCore& core) {
    environment_.on_lost();
    core.OnLost(epoch, why, absl::Now());
    SetCondition(EngineState::kRecovering, std::string(why.message()));
  });
}

void Replica::OnSetback(uint64_t epoch, const absl::Status& why) {
  Post([epoch, why](EngineCore& core) { core.OnSetback(epoch, why, absl::Now()); });
}

void Replica::OnFailed(const absl::Status& why) {
  Post([this, why](EngineCore& core) {
    core.OnFailed(why);
    SetCondition(EngineState::kFailed, std::string(why.message()));
  });
}

void Replica::Post(Message message) {
  MutexLock lock(mutex_);
  PostLocked(std::move(message));
}

void Replica::PostLocked(Message message) {
  inbox_.push_back(std::move(message));
  inbox_changed_.NotifyOne();
}

std::deque<Replica::Message> Replica::Receive(absl::Time deadline, bool& stop) {
  MutexLock lock(mutex_);
  while (inbox_.empty() && !stop_ && absl::Now() < deadline) {
    inbox_changed_.WaitUntil(mutex_, ToSteady(deadline));
  }
  stop = stop_;
  // What was on the way is counted by the core once these have run.
  const QueueLoad on_the_way = std::exchange(on_the_way_, {});
  queue_.requests += on_the_way.requests;
  queue_.tokens += on_the_way.tokens;
  room_.Take(std::exchange(arriving_, {}));
  return std::exchange(inbox_, {});
}

void Replica::Run() {
  bool stop = false;
  while (!stop) {
    std::deque<Message> messages = Receive(core_.NextDeadline(), stop);
    core_.At(absl::Now());
    for (Message& message : messages) message(core_);
    core_.Tick(absl::Now());
    environment_.counters->engine_cpu_ns = ThreadCpuNanoseconds();
    Publish();
  }
}

}  // namespace tessera::server
