#include "client/lib/resume.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/lib/error_details.h"
#include "shard_loader/mutex.h"
#include "shard_loader/status_macros.h"

namespace tessera::client {
namespace {

constexpr absl::Duration kFirstDelay = absl::Milliseconds(100);
constexpr absl::Duration kLongestDelay = absl::Seconds(1);

// What the caller has got of a sequence, and how much of it is still to come again.
struct Progress {
  std::vector<uint32_t> ids;
  size_t text_bytes = 0;
  size_t logprobs = 0;  // more than ids where the prompt was echoed
  bool finished = false;
  size_t ids_again = 0;
  size_t bytes_again = 0;
  size_t logprobs_again = 0;
};

template <typename T>
void DropFirst(size_t count, std::vector<T>& values) {
  values.erase(values.begin(), values.begin() + std::min(count, values.size()));
}

absl::Status OtherServer(std::string_view what, const std::string& was, const std::string& is) {
  return absl::FailedPreconditionError(
      absl::StrCat("the answer cannot go on: the server that came back has another ",
                   std::string(what), " (", is, ", before ", was, ")"));
}

class ResumingStream final : public Stream<GenerateEvent> {
 public:
  ResumingStream(const CallOptions& options, ResumingCalls calls)
      : options_(options),
        calls_(std::move(calls)),
        deadline_(options.timeout == absl::InfiniteDuration() ? absl::InfiniteFuture()
                                                              : absl::Now() + options.timeout) {
    Open();
  }

  absl::StatusOr<std::optional<GenerateEvent>> Next() override {
    while (end_.ok()) {
      auto event = current()->Next();
      if (!event.ok()) {
        end_ = Recover(event.status());
        continue;
      }
      if (!event->has_value()) return std::nullopt;
      absl::StatusOr<bool> wanted = Take(**event);
      if (!wanted.ok()) {
        end_ = wanted.status();
      } else if (*wanted) {
        broken_since_.reset();  // not by what comes again: that is no progress
        return event;
      }
    }
    return end_;
  }

  void Cancel() override {
    MutexLock lock(mutex_);
    cancelled_ = true;
    cancel_changed_.NotifyAll();
    stream_->Cancel();
  }

 private:
  Stream<GenerateEvent>* current() {
    MutexLock lock(mutex_);
    return stream_.get();
  }

  bool several() const {
    return options_.sampling.n.value_or(1) > 1 || options_.sampling.best_of.value_or(1) > 1 ||
           options_.sampling.beam_width.has_value();
  }

  // One list of ids cannot say where several sequences are, or how much of the echo has come.
  bool from_the_beginning() const {
    bool any = false;
    for (const auto& [index, progress] : progress_) any |= !progress.ids.empty();
    return several() || !any;
  }

  GenerateStreamPtr OpenFirst(const CallOptions& options) {
    for (auto& [index, progress] : progress_) {
      progress.ids_again = progress.ids.size();
      progress.bytes_again = progress.text_bytes;
      progress.logprobs_again = progress.logprobs;
    }
    return calls_.first(options);
  }

  GenerateStreamPtr OpenAgain(CallOptions options) {
    options.output.prompt_logprobs.reset();
    options.output.echo.reset();
    const std::vector<uint32_t>& ids = progress_.begin()->second.ids;
    options.continue_from.insert(options.continue_from.end(), ids.begin(), ids.end());
    return calls_.again(GenerateOptions{options, accepted_->prompt_token_ids});
  }

  void Open() {
    CallOptions options = options_;
    options.timeout =
        deadline_ == absl::InfiniteFuture() ? absl::InfiniteDuration() : deadline_ - absl::Now();
    options.output.token_ids = true;
    if (accepted_) options.sampling.seed = accepted_->seed;
    GenerateStreamPtr stream = from_the_beginning() ? OpenFirst(options) : OpenAgain(options);
    MutexLock lock(mutex_);
    stream_ = std::move(stream);
    if (cancelled_) stream_->Cancel();
  }

  // OK where another attempt is under way; else the error that ends the stream.
  absl::Status Recover(const absl::Status& error) {
    const ErrorDetails details = DetailsOf(error);
    bool again = absl::IsUnavailable(error);
    // Refused with the time to come back: before anything was begun that is the answer.
    if (!accepted_ && details.retry_after > absl::ZeroDuration()) again = false;
    // This request, on a server that has not noticed yet that it broke.
    if (broken_since_ && absl::IsAlreadyExists(error)) again = true;
    // A server that starts again finds everything that it was answering in its queue at once.
    if (broken_since_ && absl::IsResourceExhausted(error) &&
        details.retry_after > absl::ZeroDuration()) {
      again = true;
    }
    if (!again) return error;
    if (!broken_since_) {
      broken_since_ = absl::Now();
      delay_ = kFirstDelay;
      if (options_.on_interruption) options_.on_interruption(error);
    }
    const absl::Time until = std::min(*broken_since_ + options_.resume_timeout, deadline_);
    const absl::Time next =
        absl::Now() + std::max(delay_, std::min(details.retry_after, kLongestDelay));
    if (next >= until) return error;
    if (!Wait(next)) return absl::CancelledError("the stream was cancelled");
    delay_ = std::min(delay_ * 2, kLongestDelay);
    Open();
    return absl::OkStatus();
  }

  // False where Cancel comes first.
  bool Wait(absl::Time until) {
    auto deadline =
        std::chrono::steady_clock::now() + absl::ToChronoMicroseconds(until - absl::Now());
    MutexLock lock(mutex_);
    while (!cancelled_ && std::chrono::steady_clock::now() < deadline) {
      cancel_changed_.WaitUntil(mutex_, deadline);
    }
    return !cancelled_;
  }

  // Whether the caller gets the event, without what it has already.
  absl::StatusOr<bool> Take(GenerateEvent& event) {
    if (auto* accepted = std::get_if<Accepted>(&event.event)) return TakeAccepted(*accepted);
    if (auto* delta = std::get_if<Delta>(&event.event)) return TakeDelta(*delta);
    return !std::exchange(progress_[std::get<Finished>(event.event).index].finished, true);
  }

  absl::StatusOr<bool> TakeAccepted(Accepted& accepted) {
    if (accepted_) {
      if (accepted.weights_version != accepted_->weights_version) {
        return OtherServer("weights version", accepted_->weights_version, accepted.weights_version);
      }
      if (accepted.numerics_id != accepted_->numerics_id) {
        return OtherServer("numerics id", accepted_->numerics_id, accepted.numerics_id);
      }
      if (accepted.prompt_token_ids != accepted_->prompt_token_ids) {
        return absl::FailedPreconditionError(
            "the answer cannot go on: the server that came back makes another prompt of it");
      }
      return false;
    }
    accepted_ = accepted;
    accepted_->prompt_logprobs.clear();
    if (!options_.output.token_ids.value_or(false)) accepted.prompt_token_ids.clear();
    return true;
  }

  absl::StatusOr<bool> TakeDelta(Delta& delta) {
    Progress& progress = progress_[delta.index];
    const size_t known_ids = std::min(progress.ids_again, delta.token_ids.size());
    const auto seen = progress.ids.end() - static_cast<int64_t>(progress.ids_again);
    if (!std::equal(seen, seen + static_cast<int64_t>(known_ids), delta.token_ids.begin())) {
      return absl::DataLossError(
          "the answer cannot go on: the server that came back has drawn other tokens");
    }
    progress.ids_again -= known_ids;
    DropFirst(known_ids, delta.token_ids);
    const size_t known_logprobs = std::min(progress.logprobs_again, delta.logprobs.size());
    progress.logprobs_again -= known_logprobs;
    DropFirst(known_logprobs, delta.logprobs);
    progress.logprobs += delta.logprobs.size();
    const size_t known_bytes = std::min(progress.bytes_again, delta.text.size());
    progress.bytes_again -= known_bytes;
    delta.text.erase(0, known_bytes);
    progress.text_bytes += delta.text.size();
    progress.ids.insert(progress.ids.end(), delta.token_ids.begin(), delta.token_ids.end());
    const bool news = !delta.text.empty() || !delta.token_ids.empty() || !delta.logprobs.empty();
    if (!options_.output.token_ids.value_or(false)) delta.token_ids.clear();
    return news;
  }

  const CallOptions options_;
  const ResumingCalls calls_;
  const absl::Time deadline_;
  std::optional<Accepted> accepted_;
  std::map<uint32_t, Progress> progress_;   // by index
  std::optional<absl::Time> broken_since_;  // no event since
  absl::Duration delay_ = kFirstDelay;
  absl::Status end_;

  Mutex mutex_;
  CondVar cancel_changed_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  GenerateStreamPtr stream_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

GenerateStreamPtr MakeResumingStream(const CallOptions& options, ResumingCalls calls) {
  return std::make_unique<ResumingStream>(options, std::move(calls));
}

}  // namespace tessera::client
