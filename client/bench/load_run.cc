#include "client/bench/load_run.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/mutex.h"

namespace tessera::client {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr std::chrono::milliseconds kProgressInterval{250};

double Since(Clock::time_point begin) { return Seconds(Clock::now() - begin).count(); }

Clock::time_point After(Clock::time_point begin, double seconds) {
  return begin + std::chrono::duration_cast<Clock::duration>(Seconds(seconds));
}

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// What all requests of a run add to. Thread-safe.
class Tally {
 public:
  void Sent(double lateness_s, bool shortened) {
    MutexLock lock(mutex_);
    result_.sent++;
    result_.shortened += shortened;
    result_.peak_streams = std::max(result_.peak_streams, result_.sent - ended_);
    lateness_.push_back(lateness_s);
  }
  void Delta(double gap_s, size_t tokens) {
    messages_.fetch_add(1, std::memory_order_relaxed);
    tokens_.fetch_add(tokens, std::memory_order_relaxed);
    if (tokens == 0) return;
    if (gap_s >= 0) {
      inter_token_.Add(gap_s / static_cast<double>(tokens), tokens);
    } else if (tokens > 1) {
      inter_token_.Add(0, tokens - 1);  // they came with the first one
    }
  }
  void Finished(const Usage& usage) {
    MutexLock lock(mutex_);
    result_.prompt_tokens += usage.prompt_tokens;
    result_.cached_tokens += usage.cached_tokens;
  }
  // `ttft_s` below 0: no token came.
  void Ended(const absl::Status& status, double ttft_s, double end_to_end_s) {
    MutexLock lock(mutex_);
    ++ended_;
    if (status.ok()) {
      ++result_.succeeded;
      if (ttft_s >= 0) ttft_.push_back(ttft_s);
      end_to_end_.push_back(end_to_end_s);
    } else {
      ++result_.failures[absl::StrCat(absl::StatusCodeToString(status.code()), ": ",
                                      std::string(status.message()))];
    }
    changed_.NotifyOne();
  }

  uint64_t running() const {
    MutexLock lock(mutex_);
    return result_.sent - ended_;
  }
  // Until fewer than `limit` run, or the time.
  void WaitBelow(uint64_t limit, Clock::time_point until) {
    MutexLock lock(mutex_);
    while (result_.sent - ended_ >= limit && Clock::now() < until) {
      changed_.WaitUntil(mutex_, until);
    }
  }
  LoadProgress Progress(double seconds) const {
    MutexLock lock(mutex_);
    return {.seconds = seconds,
            .sent = result_.sent,
            .ended = ended_,
            .failed = ended_ - result_.succeeded,
            .tokens = tokens_.load(std::memory_order_relaxed)};
  }
  LoadResult Take() {
    MutexLock lock(mutex_);
    result_.output_tokens = tokens_.load(std::memory_order_relaxed);
    result_.messages = messages_.load(std::memory_order_relaxed);
    result_.ttft = PercentilesOf(std::move(ttft_));
    result_.end_to_end = PercentilesOf(std::move(end_to_end_));
    result_.lateness = PercentilesOf(std::move(lateness_));
    result_.inter_token = inter_token_.Read();
    return std::move(result_);
  }

 private:
  std::atomic<uint64_t> messages_{0};
  std::atomic<uint64_t> tokens_{0};
  TimeHistogram inter_token_;
  mutable Mutex mutex_;
  CondVar changed_;
  LoadResult result_ ABSL_GUARDED_BY(mutex_);
  uint64_t ended_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<double> ttft_ ABSL_GUARDED_BY(mutex_);
  std::vector<double> end_to_end_ ABSL_GUARDED_BY(mutex_);
  std::vector<double> lateness_ ABSL_GUARDED_BY(mutex_);
};

// One request on its way; destroys itself at the end.
class Flight final : public StreamObserver {
 public:
  Flight(Tally& tally, Clock::time_point due) : tally_(tally), due_(due) {}

  void OnAccepted() override {}
  void OnDelta(size_t tokens, size_t) override {
    const Clock::time_point now = Clock::now();
    const bool first = last_ == Clock::time_point();
    if (first) ttft_s_ = Seconds(now - due_).count();
    tally_.Delta(first ? -1 : Seconds(now - last_).count(), tokens);
    last_ = now;
  }
  void OnFinished(const Usage& usage) override { tally_.Finished(usage); }
  void OnEnd(const absl::Status& status) override {
    tally_.Ended(status, ttft_s_, Since(due_));
    delete this;
  }

 private:
  Tally& tally_;
  const Clock::time_point due_;
  Clock::time_point last_;  // message
  double ttft_s_ = -1;
};

// Of one run: sends, waits, tells how far it is.
class Sender {
 public:
  Sender(ManyStreams& streams, const LoadOptions& options, const std::atomic<bool>& stop,
         const std::function<void(const LoadProgress&)>& progress)
      : streams_(streams), options_(options), stop_(stop), progress_(progress) {}

  LoadResult Run(const std::function<std::optional<PlannedRequest>()>& next);

 private:
  // False where the run is to end before `time`.
  bool WaitUntil(Clock::time_point time);
  bool WaitForClient();
  void Send(const PlannedRequest& planned, Clock::time_point due);
  void AwaitAnswers();
  bool TimeIsOver() const {
    return stop_ || (options_.duration_s > 0 && Since(begin_) >= options_.duration_s);
  }
  void Tell();

  ManyStreams& streams_;
  const LoadOptions& options_;
  const std::atomic<bool>& stop_;
  const std::function<void(const LoadProgress&)>& progress_;
  const Clock::time_point begin_ = Clock::now();
  Clock::time_point told_ = begin_;
  uint64_t sent_ = 0;
  Tally tally_;
};

void Sender::Tell() {
  if (Clock::now() - told_ < kProgressInterval) return;
  told_ = Clock::now();
  progress_(tally_.Progress(Since(begin_)));
}

bool Sender::WaitUntil(Clock::time_point time) {
  while (!TimeIsOver()) {
    Tell();
    const Clock::time_point now = Clock::now();
    if (now >= time) return true;
    // Nothing ends the wait but the time: no count is below 0.
    tally_.WaitBelow(0, std::min(time, now + kProgressInterval));
  }
  return false;
}

bool Sender::WaitForClient() {
  const auto clients = static_cast<uint64_t>(options_.clients);
  while (!TimeIsOver()) {
    Tell();
    if (tally_.running() < clients) return true;
    tally_.WaitBelow(clients, Clock::now() + kProgressInterval);
  }
  return false;
}

void Sender::Send(const PlannedRequest& planned, Clock::time_point due) {
  GenerateOptions request = options_.request;
  const uint64_t index = sent_++;
  const uint32_t longest = options_.max_model_len;
  const uint32_t input =
      longest > 0 ? std::min(planned.input_tokens, longest - 1) : planned.input_tokens;
  std::vector<uint32_t> prompt = MakePrompt(options_.prompts, index, input);
  uint32_t output = planned.output_tokens;
  if (longest > 0 && prompt.size() + output > longest) {
    output = longest > prompt.size() ? longest - static_cast<uint32_t>(prompt.size()) : 1;
  }
  request.prompt = std::move(prompt);
  request.stop.max_tokens = output;
  request.sampling.seed = options_.prompts.seed + index;
  const bool shortened = output < planned.output_tokens || input < planned.input_tokens;
  tally_.Sent(std::max(0.0, Since(due)), shortened);
  streams_.Generate(request, new Flight(tally_, due));  // destroys itself in OnEnd
}

void Sender::AwaitAnswers() {
  const Clock::time_point until = After(Clock::now(), options_.grace_s);
  while (tally_.running() > 0 && !stop_ && Clock::now() < until) {
    Tell();
    tally_.WaitBelow(1, std::min(until, Clock::now() + kProgressInterval));
  }
  if (tally_.running() == 0) return;
  streams_.CancelAll();
  while (tally_.running() > 0) tally_.WaitBelow(1, Clock::now() + kProgressInterval);
}

LoadResult Sender::Run(const std::function<std::optional<PlannedRequest>()>& next) {
  const double cpu_before = CpuSeconds();
  const bool open = options_.clients == 0;
  while (options_.max_requests == 0 || sent_ < options_.max_requests) {
    const std::optional<PlannedRequest> planned = next();
    if (!planned) break;
    const Clock::time_point due = After(begin_, planned->arrival_s);
    if (open ? !WaitUntil(due) : !WaitForClient()) break;
    Send(*planned, open ? due : Clock::now());
  }
  AwaitAnswers();
  LoadResult result = tally_.Take();
  result.seconds = Since(begin_);
  result.cpu_seconds = CpuSeconds() - cpu_before;
  result.cpus = static_cast<int>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
  if (!open) result.lateness = {};
  return result;
}

}  // namespace

uint64_t LoadResult::failed() const {
  uint64_t count = 0;
  for (const auto& [why, times] : failures) count += times;
  return count;
}

LoadResult RunLoad(ManyStreams& streams, const LoadOptions& options,
                   const std::function<std::optional<PlannedRequest>()>& next,
                   const std::atomic<bool>& stop,
                   const std::function<void(const LoadProgress&)>& progress) {
  return Sender(streams, options, stop, progress).Run(next);
}

}  // namespace tessera::client
