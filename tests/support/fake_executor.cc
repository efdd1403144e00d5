#include "tests/support/fake_executor.h"

#include <algorithm>
#include <chrono>
#include <stdexcept>

namespace tessera::tests {

using server::Finish;
using server::SequenceResult;
using server::StepResult;

FakeExecutor::Draw FakeExecutor::Counting(uint32_t first) {
  return [first](const std::vector<uint32_t>& log) {
    server::Token token;
    token.id = first + static_cast<uint32_t>(log.size());
    token.logprob = -1.0f;
    return token;
  };
}

server::GroupFacts FakeExecutor::Facts() {
  server::GroupFacts facts;
  facts.numerics_id = "fake-numerics";
  facts.weights_version = "fake-weights";
  facts.block_size = 16;
  facts.num_kv_blocks = 64;
  facts.max_model_len = 1024;
  facts.max_num_batched_tokens = 512;
  facts.max_num_seqs = 8;
  return facts;
}

void FakeExecutor::RunBySelf(std::chrono::microseconds pace) {
  thread_ = std::thread([this, pace] { Loop(pace); });
}

void FakeExecutor::Loop(std::chrono::microseconds pace) {
  while (true) {
    {
      MutexLock lock(mutex_);
      while (waiting_.empty() && !stop_) changed_.Wait(mutex_);
      if (stop_) return;
      if (pace.count() > 0) {
        changed_.WaitUntil(mutex_, std::chrono::steady_clock::now() + pace);
        if (stop_) return;
      }
    }
    RunStep();
  }
}

void FakeExecutor::Start(server::ExecutorEvents* events) {
  MutexLock lock(mutex_);
  events_ = events;
}

void FakeExecutor::Submit(uint64_t epoch, const server::Step& step) {
  MutexLock lock(mutex_);
  if (epoch != epoch_ || !ready_) return;
  waiting_.push_back({epoch, step});
  steps_.push_back(step);
  changed_.NotifyAll();
}

server::GroupStatus FakeExecutor::GetStatus() const {
  MutexLock lock(mutex_);
  server::GroupStatus status;
  status.state = epoch_ > 0 ? server::GroupState::kReady : server::GroupState::kStarting;
  status.epoch = epoch_;
  return status;
}

void FakeExecutor::Stop() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

void FakeExecutor::BecomeReady(const server::GroupFacts& facts) {
  server::ExecutorEvents* events;
  uint64_t epoch;
  {
    MutexLock lock(mutex_);
    events = events_;
    epoch = ++epoch_;
    ready_ = true;
    sequences_.clear();
  }
  events->OnReady(epoch, facts);
}

void FakeExecutor::Lose(const absl::Status& why) {
  server::ExecutorEvents* events;
  uint64_t epoch;
  {
    MutexLock lock(mutex_);
    events = events_;
    epoch = epoch_;
    ready_ = false;
    waiting_.clear();
    sequences_.clear();
  }
  events->OnLost(epoch, why);
}

void FakeExecutor::Setback(const absl::Status& why) {
  server::ExecutorEvents* events;
  uint64_t epoch;
  {
    MutexLock lock(mutex_);
    events = events_;
    epoch = ++epoch_;
  }
  events->OnSetback(epoch, why);
}

void FakeExecutor::Fail(const absl::Status& why) {
  server::ExecutorEvents* events;
  {
    MutexLock lock(mutex_);
    events = events_;
  }
  events->OnFailed(why);
}

bool FakeExecutor::RunStep() {
  server::ExecutorEvents* events;
  uint64_t epoch;
  StepResult result;
  {
    MutexLock lock(mutex_);
    if (waiting_.empty()) return false;
    events = events_;
    epoch = waiting_.front().epoch;
    result = Run(waiting_.front().step);
    waiting_.pop_front();
  }
  events->OnStep(epoch, std::move(result));
  return true;
}

StepResult FakeExecutor::Run(const server::Step& step) {
  StepResult out;
  out.step = step.step;
  for (uint64_t id : step.ends) sequences_.erase(id);
  for (const auto& start : step.starts) {
    sequences_[start.sequence] = {start, start.cached_tokens};
  }
  for (const auto& entry : step.entries) {
    auto it = sequences_.find(entry.sequence);
    if (it == sequences_.end()) throw std::logic_error("an entry of an unknown sequence");
    Sequence& sequence = it->second;
    if (sequence.ended) continue;
    auto& log = sequence.start.token_ids;
    uint32_t begin = sequence.computed;
    uint32_t rest = static_cast<uint32_t>(log.size()) - sequence.computed;
    sequence.computed += std::min(entry.num_tokens, rest);
    SequenceResult result;
    result.sequence = entry.sequence;
    result.admission = sequence.start.admission;
    if (sequence.start.prompt_logprobs) {
      result.prompt_position = std::max(begin, 1u);
      uint32_t end = std::min(sequence.computed + 1, sequence.start.prompt_length);
      for (uint32_t p = result.prompt_position; p < end; ++p) {
        result.prompt_tokens.push_back(
            {.id = log[p], .logprob = -2.0f, .top = {}, .candidates = {}});
      }
    }
    if (sequence.computed == log.size()) {
      result.tokens.push_back(draw_(log));
      uint32_t id = result.tokens[0].id;
      log.push_back(id);
      const auto& stops = sequence.start.stop_token_ids;
      uint32_t generated = static_cast<uint32_t>(log.size()) - sequence.start.prompt_length;
      bool stop = std::find(stops.begin(), stops.end(), id) != stops.end();
      if (stop && generated > sequence.start.min_tokens) {
        result.finish = Finish::kStop;
      } else if (generated >= sequence.start.max_tokens) {
        result.finish = Finish::kLength;
      }
      sequence.ended = result.finish != Finish::kRunning;
    }
    out.results.push_back(std::move(result));
  }
  return out;
}

size_t FakeExecutor::num_waiting() const {
  MutexLock lock(mutex_);
  return waiting_.size();
}

std::vector<server::Step> FakeExecutor::steps() const {
  MutexLock lock(mutex_);
  return steps_;
}

}  // namespace tessera::tests
