// A scheduler with the logs of its sequences, and steps in short.
#ifndef TESSERA_TESTS_UNIT_SERVER_SCHEDULER_BENCH_H_
#define TESSERA_TESTS_UNIT_SERVER_SCHEDULER_BENCH_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "server/scheduler/scheduler.h"

namespace tessera::server {

// "+1#2~8[0,1,] -3 4>5 1:6[7,]": sequence 1 starts with admission 2 and 8 tokens cached in blocks
// 0 and 1, sequence 3 ends, block 4 is copied to 5, sequence 1 gets 6 tokens and block 7. "4>s5"
// and "s4>5": to or from a slot.
inline std::string Show(const std::optional<Step>& step) {
  if (!step) return "nothing";
  std::string text;
  auto list = [](const std::vector<uint32_t>& blocks) {
    std::string out = "[";
    for (uint32_t block : blocks) out += std::to_string(block) + ",";
    return out + "]";
  };
  for (const auto& start : step->starts) {
    text += "+" + std::to_string(start.sequence) + "#" + std::to_string(start.admission);
    if (start.cached_tokens > 0) {
      text += "~" + std::to_string(start.cached_tokens) + list(start.blocks);
    }
    text += " ";
  }
  for (uint64_t end : step->ends) text += "-" + std::to_string(end) + " ";
  for (const BlockCopy& copy : step->copies) {
    text += (copy.kind == BlockCopy::Kind::kFetch ? "s" : "") + std::to_string(copy.from) + ">" +
            (copy.kind == BlockCopy::Kind::kSpill ? "s" : "") + std::to_string(copy.to) + " ";
  }
  for (const auto& entry : step->entries) {
    text += std::to_string(entry.sequence) + ":" + std::to_string(entry.num_tokens) +
            list(entry.new_blocks) + " ";
  }
  text.pop_back();
  return text;
}

class Bench {
 public:
  explicit Bench(const SchedulerOptions& options) : scheduler(options) {}

  // Tokens that no other sequence has, unless `info` has a log.
  bool Add(uint64_t id, uint32_t length, uint32_t max_length, SequenceInfo info = {}) {
    std::vector<uint32_t> log;
    for (uint32_t i = 0; i < length; ++i) log.push_back(static_cast<uint32_t>(id) * 1000 + i);
    return AddLog(id, log, max_length, info);
  }
  bool AddLog(uint64_t id, const std::vector<uint32_t>& log, uint32_t max_length,
              SequenceInfo info = {}) {
    return scheduler.Add(id, Keep(id, log, max_length, info));
  }
  // A fork whose log is the first `length` tokens of its parent's.
  bool Fork(uint64_t parent, uint64_t id, uint32_t length, uint32_t max_length) {
    std::vector<uint32_t> log = *logs_.at(parent);
    log.resize(length, 77);
    return scheduler.Fork(parent, id, Keep(id, log, max_length, {}));
  }
  void Remove(uint64_t id) {
    scheduler.Remove(id);
    logs_.erase(id);
  }
  std::string Next() { return Show(scheduler.Next(now)); }
  // The oldest step has been computed: what it draws is in the logs.
  void Report() {
    for (const auto& part : scheduler.flights().front().parts) {
      auto log = logs_.find(part.sequence);
      if (part.draws && log != logs_.end()) log->second->push_back(next_token_++);
    }
    scheduler.Reported();
  }
  // Report, and the next step.
  std::string Then() {
    Report();
    return Next();
  }
  const std::vector<uint32_t>& log(uint64_t id) const { return *logs_.at(id); }
  uint32_t max_length(uint64_t id) const { return max_lengths_.at(id); }

  Scheduler scheduler;
  absl::Time now = absl::UnixEpoch();

 private:
  SequenceInfo Keep(uint64_t id, const std::vector<uint32_t>& log, uint32_t max_length,
                    SequenceInfo info) {
    logs_[id] = std::make_unique<std::vector<uint32_t>>(log);
    info.log = logs_[id].get();
    info.max_length = max_lengths_[id] = max_length;
    if (info.order == 0) info.order = id;
    return info;
  }

  std::map<uint64_t, std::unique_ptr<std::vector<uint32_t>>> logs_;
  std::map<uint64_t, uint32_t> max_lengths_;
  uint32_t next_token_ = 1000000;
};

// Blocks of four tokens, one step at a time.
inline SchedulerOptions Options(uint32_t tokens, uint32_t seqs, uint32_t blocks) {
  SchedulerOptions options;
  options.max_num_batched_tokens = tokens;
  options.max_num_seqs = seqs;
  options.block_size = 4;
  options.num_blocks = blocks;
  options.queue.aging = absl::InfiniteDuration();
  return options;
}

}  // namespace tessera::server

#endif  // TESSERA_TESTS_UNIT_SERVER_SCHEDULER_BENCH_H_
