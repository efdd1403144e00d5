// A group of real workers, driven as the engine does it.
#ifndef TESSERA_TESTS_INTEGRATION_SESSION_GROUP_HARNESS_H_
#define TESSERA_TESTS_INTEGRATION_SESSION_GROUP_HARNESS_H_

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/executor/executor.h"
#include "server/executor/group_options.h"
#include "shard_loader/load/checkpoint.h"
#include "shard_loader/mutex.h"
#include "tests/support/fixtures.h"

namespace tessera::tests {

// Keeps what an executor tells, in order. Thread-safe.
class RecordedEvents : public server::ExecutorEvents {
 public:
  struct Event {
    enum class Kind { kReady, kStep, kLost, kSetback, kFailed };
    Kind kind;
    uint64_t epoch = 0;
    server::GroupFacts facts;
    server::StepResult result;
    absl::Status why;
  };

  void OnReady(uint64_t epoch, const server::GroupFacts& facts) override;
  void OnStep(uint64_t epoch, server::StepResult result) override;
  void OnLost(uint64_t epoch, const absl::Status& why) override;
  void OnSetback(uint64_t epoch, const absl::Status& why) override;
  void OnFailed(const absl::Status& why) override;

  // The next one; nullopt where none comes within the limit.
  std::optional<Event> Next(std::chrono::seconds limit);

 private:
  void Add(Event event);
  Mutex mutex_;
  CondVar changed_;
  std::deque<Event> events_ ABSL_GUARDED_BY(mutex_);
};

// Local workers over the bundled model in f32, with small limits.
server::GroupOptions DemoGroup(int tp, int pp, const std::string& runtime_dir);

// An executor with its events; stopped in the destructor.
class Group {
 public:
  // Throws where the options are refused.
  explicit Group(const server::GroupOptions& options);
  ~Group();

  server::Executor& executor() { return *executor_; }
  RecordedEvents& events() { return events_; }
  // The epoch of the group that gets ready next; throws, saying why, where none does.
  uint64_t WaitReady();
  // The first event that is a loss or a failure; throws where none comes.
  RecordedEvents::Event WaitLost();
  // Greedy continuation of `prompt`, up to `max_tokens` tokens or the model's end. Throws where the
  // group is lost on the way.
  std::vector<uint32_t> Complete(uint64_t epoch, const std::vector<uint32_t>& prompt,
                                 uint32_t max_tokens);

 private:
  RecordedEvents events_;
  std::unique_ptr<server::Executor> executor_;
  uint64_t next_sequence_ = 1;
  uint64_t next_step_ = 1;
  uint64_t epoch_ = 0;
  std::vector<uint64_t> ended_;  // sequences of `epoch_` that the workers still know
};

struct GoldenCase {
  std::vector<uint32_t> prompt;
  std::vector<uint32_t> output;
};
// Of the bundled model.
std::vector<GoldenCase> DemoGolden();

const shard_loader::Checkpoint& DemoCheckpoint();

// Skips the test where this build or this machine lacks the communicator.
void NeedComm(const std::string& comm);

// Children of this process that are still there, zombies too.
std::vector<int> ChildProcesses();

}  // namespace tessera::tests

#endif  // TESSERA_TESTS_INTEGRATION_SESSION_GROUP_HARNESS_H_
