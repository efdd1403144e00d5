// A group of workers that computes nothing: a function of the log says what is drawn.
#ifndef TESSERA_TESTS_SUPPORT_FAKE_EXECUTOR_H_
#define TESSERA_TESTS_SUPPORT_FAKE_EXECUTOR_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <thread>
#include <vector>

#include "server/executor/executor.h"
#include "shard_loader/mutex.h"

namespace tessera::tests {

// Keeps to the contract of the workers: tokens are drawn at the end of what is known, sequences end
// at stop ids and max_tokens, results carry the admission. Thread-safe.
class FakeExecutor : public server::Executor {
 public:
  using Draw = std::function<server::Token(const std::vector<uint32_t>& log)>;

  // Draws the ids `first`, `first` + 1, ... by the length of the log.
  static Draw Counting(uint32_t first);
  static server::GroupFacts Facts();

  explicit FakeExecutor(Draw draw) : draw_(std::move(draw)) {}
  ~FakeExecutor() override { Stop(); }

  // Runs steps on a thread of its own as they come, `pace` apart; else RunStep does.
  void RunBySelf(std::chrono::microseconds pace = {});
  void Start(server::ExecutorEvents* events) override;
  void Submit(uint64_t epoch, const server::Step& step) override;
  server::GroupStatus GetStatus() const override;
  void Stop() override;

  // Tells OnReady with the next epoch; `facts` hold from then on.
  void BecomeReady(const server::GroupFacts& facts = Facts());
  // Tells OnLost; what was submitted is dropped.
  void Lose(const absl::Status& why);
  // Tells OnSetback, of the next epoch.
  void Setback(const absl::Status& why);
  void Fail(const absl::Status& why);
  // Runs the oldest step that waits; false where none does.
  bool RunStep();

  size_t num_waiting() const;
  // Every step that was submitted.
  std::vector<server::Step> steps() const;

 private:
  struct Sequence {
    server::SequenceStart start;
    uint32_t computed = 0;
    bool ended = false;
  };
  struct Waiting {
    uint64_t epoch;
    server::Step step;
  };
  server::StepResult Run(const server::Step& step) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Loop(std::chrono::microseconds pace);

  const Draw draw_;
  mutable Mutex mutex_;
  CondVar changed_;
  server::ExecutorEvents* events_ ABSL_GUARDED_BY(mutex_) = nullptr;
  uint64_t epoch_ ABSL_GUARDED_BY(mutex_) = 0;
  bool ready_ ABSL_GUARDED_BY(mutex_) = false;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<Waiting> waiting_ ABSL_GUARDED_BY(mutex_);
  std::vector<server::Step> steps_ ABSL_GUARDED_BY(mutex_);
  std::map<uint64_t, Sequence> sequences_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace tessera::tests

#endif  // TESSERA_TESTS_SUPPORT_FAKE_EXECUTOR_H_
