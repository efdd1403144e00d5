#include "server/engine/engine.h"

#include <time.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/rpc/status.h"

namespace tessera::server {
namespace {

// A wait has an end even where no deadline is set: nothing depends on it but this promise.
constexpr absl::Duration kLongestWait = absl::Seconds(60);

// Of the calling thread.
uint64_t ThreadCpuNanoseconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec);
}

std::chrono::steady_clock::time_point ToSteady(absl::Time deadline) {
  absl::Duration rest = std::clamp(deadline - absl::Now(), absl::ZeroDuration(), kLongestWait);
  return std::chrono::steady_clock::now() + absl::ToChronoMicroseconds(rest);
}

}  // namespace

Engine::Engine(const EngineOptions& options, const Tokenizer& tokenizer, Executor& executor,
               Counters& counters, std::function<void(const EngineCondition&)> on_condition)
    : options_(options),
      executor_(executor),
      counters_(counters),
      on_condition_(std::move(on_condition)),
      core_(options,
            {.tokenizer = &tokenizer,
             .executor = &executor,
             .counters = &counters,
             .losses = &losses_,
             .on_end =
                 [this](const Request& request) {
                   MutexLock lock(mutex_);
                   keys_.erase(request.id);
                   if (keys_.empty()) live_changed_.NotifyAll();
                 },
             .on_drained =
                 [this](uint64_t key) { Post([key](EngineCore& core) { core.Drained(key); }); }}),
      thread_([this] { Run(); }) {}

Engine::~Engine() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
    inbox_changed_.NotifyAll();
  }
  thread_.join();
  core_.CancelAll(absl::CancelledError("the server is ending"));
}

void Engine::Start() { executor_.Start(this); }

absl::StatusOr<uint64_t> Engine::Submit(Request request, std::shared_ptr<ResponseStream> stream) {
  MutexLock lock(mutex_);
  absl::Status status;
  if (draining_) {
    status = absl::UnavailableError("the server is draining and takes no new requests");
  } else if (condition_.state == EngineState::kFailed) {
    return absl::UnavailableError(absl::StrCat("the model cannot be served: ", condition_.why));
  } else if (keys_.count(request.id) > 0) {
    return absl::AlreadyExistsError(absl::StrCat(
        "request_id '", request.id, "' is in use by a request that has not ended; choose another"));
  } else {
    status = CheckQueue(request.prompt.size() + request.continue_from.size());
  }
  if (!status.ok()) {
    // A full queue has room again when some of it has left.
    const absl::Duration delay =
        absl::IsResourceExhausted(status) ? queue_wait_ / 4 : absl::ZeroDuration();
    rpc::SetRetryDelay(status, std::clamp(delay, options_.retry_delay, kLongestWait));
    return status;
  }
  uint64_t key = next_key_++;
  keys_[request.id] = key;
  request.arrival = absl::Now();
  ++on_the_way_.requests;
  on_the_way_.tokens += request.prompt.size() + request.continue_from.size();
  PostLocked(
      [key, request = std::move(request), stream = std::move(stream)](EngineCore& core) mutable {
        core.Submit(key, std::move(request), std::move(stream));
      });
  return key;
}

absl::Status Engine::CheckQueue(size_t tokens) const {
  if (queue_.requests + on_the_way_.requests >= options_.max_queue) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the queue is full: ", options_.max_queue,
                     " requests (--max-queue) wait for their first step; try again later"));
  }
  const size_t queued = queue_.tokens + on_the_way_.tokens;
  // One that is longer than the whole queue may still come when it is empty.
  if (queued == 0 || queued + tokens <= options_.max_queue_tokens) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      "the queue is full: prompts of ", queued, " tokens wait for their first step, ", tokens,
      " more would exceed ", options_.max_queue_tokens, " (--max-queue-tokens); try again later"));
}

void Engine::Cancel(uint64_t key) {
  Post([key](EngineCore& core) { core.Cancel(key, absl::CancelledError("the client has left")); });
}

void Engine::BeginDrain() {
  MutexLock lock(mutex_);
  if (draining_) return;
  draining_ = true;
  PostLocked([this](EngineCore&) { SetCondition(EngineState::kDraining, ""); });
}

bool Engine::FinishDrain(absl::Time deadline) {
  MutexLock lock(mutex_);
  while (!keys_.empty() && !cut_ && absl::Now() < deadline) {
    live_changed_.WaitUntil(mutex_, ToSteady(deadline));
  }
  if (keys_.empty()) return true;
  PostLocked([](EngineCore& core) {
    core.CancelAll(absl::UnavailableError("the server is ending; the time to drain is over"));
  });
  // The engine's thread never blocks, so this ends soon.
  while (!keys_.empty()) live_changed_.Wait(mutex_);
  return false;
}

void Engine::CutDrain() {
  MutexLock lock(mutex_);
  cut_ = true;
  live_changed_.NotifyAll();
}

EngineCondition Engine::condition() const {
  MutexLock lock(mutex_);
  return condition_;
}

size_t Engine::num_live() const {
  MutexLock lock(mutex_);
  return keys_.size();
}

std::string Engine::numerics_id() const {
  MutexLock lock(mutex_);
  return numerics_id_;
}

void Engine::SetCondition(EngineState state, const std::string& why) {
  EngineCondition condition;
  {
    MutexLock lock(mutex_);
    // A drain is not taken back by what the group does meanwhile.
    if (condition_.state == EngineState::kDraining && state != EngineState::kFailed) return;
    condition_.state = state;
    condition_.why = why;
    condition_.was_ready = condition_.was_ready || state == EngineState::kReady;
    condition = condition_;
  }
  on_condition_(condition);
}

void Engine::OnReady(uint64_t epoch, const GroupFacts& facts) {
  MutexLock lock(mutex_);
  numerics_id_ = facts.numerics_id;
  PostLocked([this, epoch, facts](EngineCore& core) {
    core.OnReady(epoch, facts, absl::Now());
    SetCondition(EngineState::kReady, "");
  });
}

void Engine::OnStep(uint64_t epoch, StepResult result) {
  // shared_ptr: std::function must be copyable; the message alone holds it.
  auto shared = std::make_shared<StepResult>(std::move(result));
  Post([epoch, shared](EngineCore& core) { core.OnStep(epoch, std::move(*shared)); });
}

void Engine::OnLost(uint64_t epoch, const absl::Status& why) {
  Post([this, epoch, why](EngineCore& core) {
    core.OnLost(epoch, why, absl::Now());
    SetCondition(EngineState::kRecovering, std::string(why.message()));
  });
}

void Engine::OnFailed(const absl::Status& why) {
  Post([this, why](EngineCore& core) {
    core.OnFailed(why);
    SetCondition(EngineState::kFailed, std::string(why.message()));
  });
}

void Engine::Post(Message message) {
  MutexLock lock(mutex_);
  PostLocked(std::move(message));
}

void Engine::PostLocked(Message message) {
  inbox_.push_back(std::move(message));
  inbox_changed_.NotifyOne();
}

std::deque<Engine::Message> Engine::Receive(absl::Time deadline, bool& stop) {
  MutexLock lock(mutex_);
  queue_ = core_.queue();
  queue_wait_ = core_.queue_wait();
  while (inbox_.empty() && !stop_ && absl::Now() < deadline) {
    inbox_changed_.WaitUntil(mutex_, ToSteady(deadline));
  }
  stop = stop_;
  // What was on the way is counted by the core once these have run.
  const QueueLoad on_the_way = std::exchange(on_the_way_, {});
  queue_.requests += on_the_way.requests;
  queue_.tokens += on_the_way.tokens;
  return std::exchange(inbox_, {});
}

void Engine::Run() {
  bool stop = false;
  while (!stop) {
    std::deque<Message> messages = Receive(core_.NextDeadline(), stop);
    core_.At(absl::Now());
    for (Message& message : messages) message(core_);
    core_.Tick(absl::Now());
    counters_.engine_cpu_ns = ThreadCpuNanoseconds();
  }
}

}  // namespace tessera::server
