// An executor over real runners in this process: a thread per rank takes the steps, as a worker's
// session does.
#ifndef TESSERA_TESTS_GOLDEN_ENGINE_RUNNER_EXECUTOR_H_
#define TESSERA_TESTS_GOLDEN_ENGINE_RUNNER_EXECUTOR_H_

#include <deque>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "server/executor/executor.h"
#include "shard_loader/mutex.h"
#include "tests/golden/model/group.h"

namespace tessera::tests {

// Thread-safe.
class RunnerExecutor : public server::Executor {
 public:
  RunnerExecutor(const std::filesystem::path& model, const GroupOptions& options);
  ~RunnerExecutor() override { Stop(); }

  server::GroupFacts Facts() const;
  void Start(server::ExecutorEvents*) override {}
  void Submit(uint64_t epoch, const server::Step& step) override;
  server::GroupStatus GetStatus() const override { return {}; }
  void Stop() override;

  // Waits for the result of the oldest step that was not taken yet, of which there is one. Throws
  // std::runtime_error where a rank fails, or draws other ids than the last one.
  server::StepResult Take();

 private:
  void RunRank(int rank);

  const GroupOptions options_;
  Group group_;
  const int drawing_rank_;

  Mutex mutex_;
  CondVar changed_;
  std::vector<std::deque<std::shared_ptr<const worker::StepInput>>> steps_
      ABSL_GUARDED_BY(mutex_);                                                   // by rank
  std::vector<std::deque<worker::StepOutput>> outputs_ ABSL_GUARDED_BY(mutex_);  // by rank
  absl::Status failed_ ABSL_GUARDED_BY(mutex_);
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace tessera::tests

#endif  // TESSERA_TESTS_GOLDEN_ENGINE_RUNNER_EXECUTOR_H_
