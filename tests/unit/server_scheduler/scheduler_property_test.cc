#include <catch2/catch.hpp>

#include <algorithm>
#include <random>
#include <set>

#include "server/scheduler/scheduler.h"

namespace tessera::server {
namespace {

// A worker's side of the steps: what it knows of each sequence.
struct Held {
  uint32_t admission = 0;
  uint32_t computed = 0;
  std::vector<uint32_t> blocks;
};

// Runs a scheduler under random arrivals, ends, pauses and lost groups, and checks what every step
// must keep: no block twice, the budget and the seats, the order of steps, and progress.
class Scenario {
 public:
  explicit Scenario(uint32_t seed) : random_(seed) {
    limits_.block_size = 1 + Pick(8);
    limits_.num_blocks = 2 + Pick(30);
    limits_.max_num_seqs = 1 + Pick(6);
    limits_.max_num_batched_tokens = limits_.max_num_seqs + Pick(40);
    scheduler_.emplace(limits_);
  }

  void Run() {
    for (int i = 0; i < 200; ++i) {
      Disturb();
      RunStep();
    }
    for (auto& [id, rest] : rest_) scheduler_->SetPaused(id, false);
    int steps = 0;
    while (!rest_.empty()) {
      REQUIRE(RunStep());  // whatever waits can go on
      REQUIRE(++steps < 20000);
    }
    CHECK(scheduler_->pool().num_free() == limits_.num_blocks);
    CHECK(scheduler_->num_resident() + scheduler_->num_waiting() == 0);
  }

 private:
  uint32_t Pick(uint32_t below) { return random_() % below; }

  uint64_t Any() { return std::next(rest_.begin(), Pick(rest_.size()))->first; }

  void Disturb() {
    uint32_t capacity = limits_.num_blocks * limits_.block_size;
    if (Pick(3) == 0) {
      uint32_t length = 1 + Pick(capacity);
      uint32_t generated = 1 + Pick(20);
      bool fits = length + generated <= capacity;
      REQUIRE(scheduler_->Add(next_id_, length, length + generated) ==
              ((length + generated + limits_.block_size - 1) / limits_.block_size <=
               limits_.num_blocks));
      if (fits) {
        length_[next_id_] = length;
        rest_[next_id_] = generated;
      }
      ++next_id_;
    }
    if (rest_.empty()) return;
    if (Pick(20) == 0) Forget(Any());
    if (rest_.empty()) return;
    if (Pick(6) == 0) scheduler_->SetPaused(Any(), Pick(2) == 0);
  }

  void Forget(uint64_t id) {
    scheduler_->Remove(id);
    rest_.erase(id);
    length_.erase(id);
  }

  bool RunStep() {
    auto step = scheduler_->Next();
    if (!step) return false;
    CheckStep(*step);
    std::map<uint64_t, uint32_t> drawn;
    for (const auto& entry : step->entries) {
      Held& held = held_.at(entry.sequence);
      held.computed += entry.num_tokens;
      bool draws = held.computed == length_.at(entry.sequence);
      CHECK(draws == scheduler_->Draws(entry.sequence));
      if (!draws) continue;
      drawn[entry.sequence] = 1;
      ++length_[entry.sequence];
      --rest_[entry.sequence];
    }
    scheduler_->Completed(drawn);
    for (const auto& [id, count] : drawn) {
      if (rest_.at(id) == 0) Forget(id);
    }
    return true;
  }

  void CheckStep(const Step& step) {
    CHECK(step.step > last_step_);
    last_step_ = step.step;
    for (uint64_t id : step.ends) held_.erase(id);
    for (const auto& start : step.starts) {
      REQUIRE(held_.count(start.sequence) == 0);
      CHECK(start.admission > admissions_[start.sequence]);
      admissions_[start.sequence] = start.admission;
      held_[start.sequence].admission = start.admission;
    }
    uint32_t tokens = 0;
    std::set<uint64_t> seen;
    for (const auto& entry : step.entries) {
      REQUIRE(held_.count(entry.sequence) == 1);
      Held& held = held_[entry.sequence];
      held.blocks.insert(held.blocks.end(), entry.new_blocks.begin(), entry.new_blocks.end());
      CHECK(seen.insert(entry.sequence).second);
      CHECK(entry.num_tokens >= 1);
      CHECK(held.computed + entry.num_tokens <= length_.at(entry.sequence));
      CHECK(held.computed + entry.num_tokens <= held.blocks.size() * limits_.block_size);
      tokens += entry.num_tokens;
    }
    CHECK(tokens <= limits_.max_num_batched_tokens);
    CHECK(held_.size() <= limits_.max_num_seqs);
    std::set<uint32_t> used;
    for (const auto& [id, held] : held_) {
      for (uint32_t block : held.blocks) {
        CHECK(block < limits_.num_blocks);
        CHECK(used.insert(block).second);
      }
    }
    CHECK(used.size() + scheduler_->pool().num_free() == limits_.num_blocks);
  }

  std::mt19937 random_;
  SchedulerLimits limits_;
  std::optional<Scheduler> scheduler_;
  std::map<uint64_t, uint32_t> length_;  // tokens known, of the living
  std::map<uint64_t, uint32_t> rest_;    // tokens still to draw, likewise
  std::map<uint64_t, Held> held_;
  std::map<uint64_t, uint32_t> admissions_;
  uint64_t next_id_ = 1;
  uint64_t last_step_ = 0;
};

TEST_CASE("random scenarios keep the blocks, the budget and the order, and all sequences end") {
  for (uint32_t seed = 1; seed <= 100; ++seed) {
    INFO("seed " << seed);
    Scenario(seed).Run();
  }
}

}  // namespace
}  // namespace tessera::server
