#include "tests/integration/session/group_harness.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <utility>

#include "server/executor/group_executor.h"
#include "worker/comm/factory.h"

namespace tessera::tests {
namespace {

using Event = RecordedEvents::Event;
constexpr std::chrono::seconds kLimit{40};

void Require(bool condition, const std::string& what) {
  if (!condition) throw std::runtime_error(what);
}

}  // namespace

void RecordedEvents::OnReady(uint64_t epoch, const server::GroupFacts& facts) {
  Add({.kind = Event::Kind::kReady, .epoch = epoch, .facts = facts});
}

void RecordedEvents::OnStep(uint64_t epoch, server::StepResult result) {
  Add({.kind = Event::Kind::kStep, .epoch = epoch, .result = std::move(result)});
}

void RecordedEvents::OnLost(uint64_t epoch, const absl::Status& why) {
  Add({.kind = Event::Kind::kLost, .epoch = epoch, .why = why});
}

void RecordedEvents::OnSetback(uint64_t epoch, const absl::Status& why) {
  Add({.kind = Event::Kind::kSetback, .epoch = epoch, .why = why});
}

void RecordedEvents::OnFailed(const absl::Status& why) {
  Add({.kind = Event::Kind::kFailed, .why = why});
}

void RecordedEvents::Add(Event event) {
  MutexLock lock(mutex_);
  events_.push_back(std::move(event));
  changed_.NotifyAll();
}

std::optional<Event> RecordedEvents::Next(std::chrono::seconds limit) {
  auto deadline = std::chrono::steady_clock::now() + limit;
  MutexLock lock(mutex_);
  while (events_.empty()) {
    if (std::chrono::steady_clock::now() >= deadline) return std::nullopt;
    changed_.WaitUntil(mutex_, deadline);
  }
  Event event = std::move(events_.front());
  events_.pop_front();
  return event;
}

server::GroupOptions DemoGroup(int tp, int pp, const std::string& runtime_dir) {
  server::GroupOptions options;
  options.checkpoint = &DemoCheckpoint();
  options.layout = {.tp = tp, .pp = pp};
  options.dtype = "f32";
  options.worker_program = Program("tessera-worker").string();
  options.runtime_dir = runtime_dir;
  options.threads = tp * pp;  // one each: tests share the machine
  options.max_num_seqs = 4;
  options.max_num_batched_tokens = 64;
  options.num_kv_blocks = 64;
  options.max_model_len = 512;
  return options;
}

Group::Group(const server::GroupOptions& options) {
  auto created = server::GroupExecutor::Create(options);
  Require(created.ok(), created.status().ToString());
  executor_ = *std::move(created);
  executor_->Start(&events_);
}

Group::~Group() { executor_->Stop(); }

uint64_t Group::WaitReady() {
  while (true) {
    std::optional<Event> event = events_.Next(kLimit);
    Require(event.has_value(), "no group got ready: " + executor_->GetStatus().last_loss);
    Require(event->kind != Event::Kind::kFailed, event->why.ToString());
    if (event->kind == Event::Kind::kReady) return event->epoch;
  }
}

Event Group::WaitLost() {
  while (true) {
    std::optional<Event> event = events_.Next(kLimit);
    Require(event.has_value(), "the group was not lost");
    if (event->kind == Event::Kind::kLost || event->kind == Event::Kind::kFailed) return *event;
  }
}

std::vector<uint32_t> Group::Complete(uint64_t epoch, const std::vector<uint32_t>& prompt,
                                      uint32_t max_tokens) {
  if (epoch_ != epoch) ended_.clear();
  epoch_ = epoch;
  server::Step step{.step = next_step_++, .ends = std::exchange(ended_, {})};
  server::SequenceStart& start = step.starts.emplace_back();
  start.sequence = next_sequence_++;
  start.token_ids = prompt;
  start.prompt_length = static_cast<uint32_t>(prompt.size());
  start.sampling.temperature = 0;
  start.max_tokens = max_tokens;
  for (int64_t id : DemoCheckpoint().stop_token_ids()) {
    start.stop_token_ids.push_back(static_cast<uint32_t>(id));
  }
  // Every block that the sequence can need: this sequence is alone.
  server::SequenceStep entry{.sequence = start.sequence,
                             .num_tokens = static_cast<uint32_t>(prompt.size())};
  for (uint32_t block = 0; block * 16 < prompt.size() + max_tokens; ++block) {
    entry.new_blocks.push_back(block);
  }
  step.entries.push_back(entry);
  std::vector<uint32_t> output;
  while (true) {
    executor_->Submit(epoch, step);
    std::optional<Event> event = events_.Next(kLimit);
    Require(event.has_value(), "a step was not answered");
    Require(event->kind == Event::Kind::kStep, event->why.ToString());
    Require(event->result.step == step.step, "another step was answered");
    bool running = false;
    for (const server::SequenceResult& result : event->result.results) {
      Require(result.error.empty(), result.error);
      for (const server::Token& token : result.tokens) output.push_back(token.id);
      running |= result.finish == server::Finish::kRunning;
    }
    if (!running) ended_.push_back(entry.sequence);
    if (!running) return output;
    step = {.step = next_step_++};
    step.entries.push_back({.sequence = entry.sequence, .num_tokens = 1});
  }
}

std::vector<GoldenCase> DemoGolden() {
  std::vector<GoldenCase> cases;
  const nlohmann::json golden = ReadJson(DemoModel().parent_path() / "golden.json");
  for (const auto& one : golden["cases"]) {
    cases.push_back({one["prompt_ids"], one["output_ids"]});
  }
  return cases;
}

const shard_loader::Checkpoint& DemoCheckpoint() {
  static const auto* checkpoint = [] {
    auto opened = shard_loader::Checkpoint::Open(DemoModel());
    Require(opened.ok(), opened.status().ToString());
    return opened->release();
  }();
  return *checkpoint;
}

void NeedComm(const std::string& comm) {
  std::vector<std::string> comms =
      worker::AvailableComms(Program("tessera-worker").parent_path().string());
  if (std::find(comms.begin(), comms.end(), comm) == comms.end()) {
    SkipTest("this build has no communicator " + comm);
  }
  if (comm == "mpi" && std::system("command -v mpirun > /dev/null") != 0) {
    SkipTest("mpirun is missing");
  }
}

std::vector<int> ChildProcesses() {
  std::vector<int> children;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream file(task.path() / "children");
    for (int pid = 0; file >> pid;) children.push_back(pid);
  }
  return children;
}

}  // namespace tessera::tests
