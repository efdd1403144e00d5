// Random lives of a scheduler, and what must hold in each of them.
#ifndef TESSERA_TESTS_UNIT_SERVER_SCHEDULER_SCENARIO_H_
#define TESSERA_TESTS_UNIT_SERVER_SCHEDULER_SCENARIO_H_

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <vector>

#include "server/scheduler/scheduler.h"

namespace tessera::server {
// What the workers know of a sequence.
struct Held {
  uint32_t admission = 0;
  uint32_t computed = 0;
  std::vector<uint32_t> blocks;
  std::vector<uint32_t> ids;  // the log, and what was drawn since
};

// What the engine knows of it.
struct Living {
  std::vector<uint32_t> log;
  uint32_t max_length = 0;
  uint32_t admission = 0;
};

// Runs a scheduler under random arrivals, forks, ends, pauses and lost groups, with several steps
// under way, and plays the workers: every block has contents (the ids behind its keys and values),
// so that a step which reads a block that was given away, or cached wrongly, is found at once.
class Scenario {
 public:
  explicit Scenario(uint32_t seed) : random_(seed) {
    options_.block_size = 1 + Pick(8);
    options_.num_blocks = 2 + Pick(30);
    options_.max_num_seqs = 1 + Pick(6);
    options_.max_num_batched_tokens = options_.max_num_seqs + Pick(40);
    options_.stages = 1 + Pick(3);
    options_.max_in_flight = 1 + Pick(options_.stages + 1);
    options_.prefix_cache = Pick(4) > 0;
    options_.num_kv_slots = options_.prefix_cache && Pick(2) == 0 ? 1 + Pick(40) : 0;
    options_.queue.aging = absl::Seconds(1 + Pick(20));
    options_.queue.weights = {{"b", 2.0}};
    alphabet_ = 1 + Pick(3);
    scheduler_.emplace(options_);
    contents_.assign(options_.num_blocks, std::vector<std::vector<uint32_t>>(options_.block_size));
    spilled_.assign(options_.num_kv_slots, contents_.front());
  }

  void Run() {
    for (int i = 0; i < 200; ++i) {
      Disturb();
      if (Pick(2) == 0) Send();
      if (Pick(2) == 0) Report();
    }
    for (auto& [id, living] : living_) scheduler_->SetPaused(id, false);
    int steps = 0;
    while (!living_.empty()) {
      Send();
      REQUIRE(!scheduler_->flights().empty());  // whatever waits can go on
      Report();
      REQUIRE(++steps < 20000);
    }
    CHECK(scheduler_->pool().num_available() == options_.num_blocks);
    CHECK(scheduler_->num_resident() + scheduler_->num_waiting() == 0);
    CHECK(scheduler_->pool().num_idle() == scheduler_->prefix_cache().num_cached());
    CHECK(scheduler_->prefix_cache().num_spilled() <= options_.num_kv_slots);
  }

 private:
  uint32_t Pick(uint32_t below) { return static_cast<uint32_t>(random_() % below); }
  uint64_t Any() { return std::next(living_.begin(), Pick(living_.size()))->first; }
  uint32_t Blocks(uint32_t tokens) const {
    return (tokens + options_.block_size - 1) / options_.block_size;
  }

  void Disturb() {
    now_ += absl::Milliseconds(Pick(500));
    if (Pick(3) == 0) Arrive();
    if (living_.empty()) return;
    if (Pick(8) == 0) Fork(Any());
    if (Pick(20) == 0) Forget(Any());
    if (living_.empty()) return;
    if (Pick(6) == 0) scheduler_->SetPaused(Any(), Pick(2) == 0);
    if (Pick(30) == 0) scheduler_->SetOffloadCosts({1.0, Pick(3) * 0.4});
    if (Pick(80) == 0) Lose();
  }

  SequenceInfo InfoOf(const Living& living) {
    SequenceInfo info;
    info.log = &living.log;
    info.max_length = living.max_length;
    info.priority = static_cast<int32_t>(Pick(3)) - 1;
    info.tenant = Pick(2) == 0 ? "a" : "b";
    info.arrival = now_;
    // Now and then one comes from elsewhere that is older than some that are here.
    info.order = Pick(4) == 0 ? 1 + Pick(static_cast<uint32_t>(next_id_)) : next_id_;
    info.reads_cache = Pick(5) > 0;
    info.one_at_a_time = Pick(4) == 0;
    info.cache_scope = Pick(4) == 0 ? "x" : "y";
    return info;
  }

  void Arrive() {
    const uint64_t id = next_id_++;
    auto living = std::make_unique<Living>();
    const uint32_t capacity = options_.num_blocks * options_.block_size;
    const uint32_t length = 1 + Pick(capacity);
    for (uint32_t i = 0; i < length; ++i) living->log.push_back(Pick(alphabet_));
    living->max_length = length + 1 + Pick(20);
    const bool fits = Blocks(living->max_length) <= options_.num_blocks;
    REQUIRE(scheduler_->Add(id, InfoOf(*living)) == fits);
    if (fits) living_[id] = std::move(living);
  }

  void Fork(uint64_t parent) {
    const uint64_t id = next_id_++;
    auto living = std::make_unique<Living>();
    living->log = living_.at(parent)->log;
    if (Pick(2) == 0) living->log.resize(1 + Pick(living->log.size()));
    if (Pick(2) == 0) living->log.back() = Pick(alphabet_);  // a beam's other token
    living->max_length = static_cast<uint32_t>(living->log.size()) + 1 + Pick(20);
    const bool fits = Blocks(living->max_length) <= options_.num_blocks;
    REQUIRE(scheduler_->Fork(parent, id, InfoOf(*living)) == fits);
    if (fits) living_[id] = std::move(living);
  }

  void Forget(uint64_t id) {
    scheduler_->Remove(id);
    living_.erase(id);
  }

  void Lose() {
    // A new group has nothing in its cache, and gets every log anew.
    scheduler_.emplace(options_);
    for (auto& [id, living] : living_) {
      living->admission = 0;
      REQUIRE(scheduler_->Add(id, InfoOf(*living)));
    }
    held_.clear();
    drawn_.clear();
    last_step_ = 0;
  }

  // Makes a step, and lets the workers run it at once.
  void Send() {
    auto step = scheduler_->Next(now_);
    if (!step) return;
    CHECK(scheduler_->flights().size() <= options_.max_in_flight);
    CHECK(step->step > last_step_);
    last_step_ = step->step;
    for (uint64_t id : step->ends) held_.erase(id);
    for (const auto& start : step->starts) TakeStart(start);
    for (const BlockCopy& copy : step->copies) RunCopy(copy);
    uint32_t tokens = 0;
    std::set<uint64_t> seen;
    auto& drawn = drawn_[step->step];
    for (const auto& entry : step->entries) {
      CHECK(seen.insert(entry.sequence).second);
      tokens += entry.num_tokens;
      RunEntry(entry, drawn);
    }
    CHECK(tokens <= options_.max_num_batched_tokens);
    CHECK(held_.size() <= options_.max_num_seqs);
    CheckUnfinished();
  }

  void RunCopy(const BlockCopy& copy) {
    auto& from = copy.kind == BlockCopy::Kind::kFetch ? spilled_ : contents_;
    auto& to = copy.kind == BlockCopy::Kind::kSpill ? spilled_ : contents_;
    to.at(copy.to) = from.at(copy.from);
  }

  void TakeStart(const SequenceStart& start) {
    REQUIRE(held_.count(start.sequence) == 0);
    Living& living = *living_.at(start.sequence);
    CHECK(start.admission == living.admission + 1);
    living.admission = start.admission;
    CHECK(start.cached_tokens < living.log.size());
    CHECK(start.cached_tokens <= start.blocks.size() * options_.block_size);
    held_[start.sequence] = {start.admission, start.cached_tokens, start.blocks, living.log};
  }

  void RunEntry(const SequenceStep& entry, std::map<uint64_t, uint32_t>& drawn) {
    REQUIRE(held_.count(entry.sequence) == 1);
    Held& held = held_[entry.sequence];
    held.blocks.insert(held.blocks.end(), entry.new_blocks.begin(), entry.new_blocks.end());
    CHECK(entry.num_tokens >= 1);
    const uint32_t end = held.computed + entry.num_tokens;
    REQUIRE(end <= held.ids.size());
    REQUIRE(end <= held.blocks.size() * options_.block_size);
    for (uint32_t p = held.computed; p < end; ++p) Slot(held, p) = Prefix(held, p);
    held.computed = end;
    // Everything that its tokens see is what it should be.
    for (uint32_t p = 0; p < end; ++p) {
      if (Slot(held, p) != Prefix(held, p)) FAIL("sequence " << entry.sequence << ", token " << p);
    }
    if (end < held.ids.size()) return;
    drawn[entry.sequence] = Pick(alphabet_);
    held.ids.push_back(drawn[entry.sequence]);
  }

  // The keys and values of a token depend on all ids up to it.
  std::vector<uint32_t> Prefix(const Held& held, uint32_t position) const {
    return {held.ids.begin(), held.ids.begin() + position + 1};
  }
  std::vector<uint32_t>& Slot(const Held& held, uint32_t position) {
    return contents_[held.blocks[position / options_.block_size]][position % options_.block_size];
  }

  void CheckUnfinished() {
    std::map<uint64_t, int> unfinished;
    for (const auto& flight : scheduler_->flights()) {
      for (const auto& part : flight.parts) unfinished[part.sequence] += part.draws;
    }
    for (const auto& [id, count] : unfinished) CHECK(count <= 2);
  }

  void Report() {
    if (scheduler_->flights().empty()) return;
    const auto flight = scheduler_->flights().front();
    auto drawn = std::move(drawn_.at(flight.step));
    drawn_.erase(flight.step);
    std::vector<uint64_t> ended;
    for (const auto& part : flight.parts) {
      CHECK(part.draws == (drawn.count(part.sequence) == 1));
      auto living = living_.find(part.sequence);
      if (!part.draws || living == living_.end()) continue;
      if (living->second->admission != part.admission) continue;
      living->second->log.push_back(drawn.at(part.sequence));
      const bool stop = Pick(30) == 0;  // a stop string: later ids of it are dropped
      if (stop || living->second->log.size() == living->second->max_length) {
        ended.push_back(part.sequence);
      }
    }
    scheduler_->Reported();
    for (uint64_t id : ended) Forget(id);
  }

  std::mt19937 random_;
  SchedulerOptions options_;
  uint32_t alphabet_ = 1;  // few ids: prefixes are often equal
  std::optional<Scheduler> scheduler_;
  std::map<uint64_t, std::unique_ptr<Living>> living_;
  std::map<uint64_t, Held> held_;
  std::map<uint64_t, std::map<uint64_t, uint32_t>> drawn_;    // by step, by sequence
  std::vector<std::vector<std::vector<uint32_t>>> contents_;  // [block][slot]
  std::vector<std::vector<std::vector<uint32_t>>> spilled_;   // likewise, of what was evicted
  absl::Time now_ = absl::UnixEpoch();
  uint64_t next_id_ = 1;
  uint64_t last_step_ = 0;
};

}  // namespace tessera::server

#endif  // TESSERA_TESTS_UNIT_SERVER_SCHEDULER_SCENARIO_H_
