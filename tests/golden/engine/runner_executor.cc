#include "tests/golden/engine/runner_executor.h"

#include <iterator>
#include <stdexcept>
#include <utility>

#include "server/executor/step_codec.h"
#include "worker/app/step_codec.h"

namespace tessera::tests {

RunnerExecutor::RunnerExecutor(const std::filesystem::path& model, const GroupOptions& options)
    : options_(options),
      group_(model, options),
      drawing_rank_((options.pp - 1) * options.tp),
      steps_(options.tp * options.pp),
      outputs_(options.tp * options.pp) {
  for (int rank = 0; rank < options.tp * options.pp; ++rank) {
    threads_.emplace_back([this, rank] { RunRank(rank); });
  }
}

server::GroupFacts RunnerExecutor::Facts() const {
  return {.numerics_id = "in-process",
          .weights_version = "1",
          .block_size = 16,
          .num_kv_blocks = options_.num_kv_blocks,
          .num_kv_slots = options_.num_kv_slots,
          .max_model_len = options_.max_model_len,
          .max_num_batched_tokens = options_.max_num_batched_tokens,
          .max_num_seqs = options_.max_num_seqs,
          .stages = static_cast<uint32_t>(options_.pp),
          .num_speculative_tokens = options_.speculation.num_tokens};
}

void RunnerExecutor::Submit(uint64_t, const server::Step& step) {
  internal::v1::Step message;
  server::ToProto(step, &message);
  auto shared = std::make_shared<const worker::StepInput>(worker::FromProto(message));
  MutexLock lock(mutex_);
  for (auto& queue : steps_) queue.push_back(shared);
  changed_.NotifyAll();
}

void RunnerExecutor::RunRank(int rank) {
  while (true) {
    worker::Runner& runner = group_.runner(rank);
    std::shared_ptr<const worker::StepInput> step;
    {
      MutexLock lock(mutex_);
      while (steps_[rank].empty() && !stop_ && runner.num_open() == 0) changed_.Wait(mutex_);
      if (stop_) return;
      if (!steps_[rank].empty()) {
        step = std::move(steps_[rank].front());
        steps_[rank].pop_front();
      }
    }
    auto outputs = step ? runner.RunAhead(*step) : runner.Settle();
    MutexLock lock(mutex_);
    if (!outputs.ok() && failed_.ok()) failed_ = outputs.status();
    if (outputs.ok())
      std::move(outputs->begin(), outputs->end(), std::back_inserter(outputs_[rank]));
    changed_.NotifyAll();
    if (!outputs.ok()) return;
  }
}

server::StepResult RunnerExecutor::Take() {
  MutexLock lock(mutex_);
  for (auto& outputs : outputs_) {
    while (outputs.empty() && failed_.ok()) changed_.Wait(mutex_);
  }
  if (!failed_.ok()) throw std::runtime_error(failed_.ToString());
  const worker::StepOutput drawn = std::move(outputs_[drawing_rank_].front());
  outputs_[drawing_rank_].pop_front();
  for (size_t rank = 0; rank < outputs_.size(); ++rank) {
    if (static_cast<int>(rank) == drawing_rank_) continue;
    const worker::StepOutput& other = outputs_[rank].front();
    if (other.step != drawn.step || other.ids_hash != drawn.ids_hash) {
      throw std::runtime_error("the ranks drew other ids");
    }
    outputs_[rank].pop_front();
  }
  return server::FromProto(worker::ToProto(drawn));
}

void RunnerExecutor::Stop() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
    changed_.NotifyAll();
  }
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

}  // namespace tessera::tests
