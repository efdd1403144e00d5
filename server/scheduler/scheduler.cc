#include "server/scheduler/scheduler.h"

#include <algorithm>
#include <cassert>

namespace tessera::server {

Scheduler::Scheduler(const SchedulerLimits& limits) : limits_(limits), pool_(limits.num_blocks) {
  assert(limits.block_size > 0 && limits.max_num_seqs > 0);
  assert(limits.max_num_batched_tokens >= limits.max_num_seqs);
}

bool Scheduler::Add(uint64_t sequence, uint32_t length, uint32_t max_length) {
  assert(length > 0 && length <= max_length);
  if (BlocksFor(max_length) > pool_.num_blocks()) return false;
  assert(entries_.empty() || entries_.rbegin()->first < sequence);
  entries_[sequence].length = length;
  waiting_.insert(sequence);
  return true;
}

void Scheduler::Remove(uint64_t sequence) {
  auto it = entries_.find(sequence);
  if (it == entries_.end()) return;
  if (residents_.erase(sequence) > 0) ends_.push_back(sequence);
  waiting_.erase(sequence);
  pool_.Free(it->second.blocks);
  entries_.erase(it);
}

void Scheduler::SetPaused(uint64_t sequence, bool paused) {
  auto it = entries_.find(sequence);
  if (it != entries_.end()) it->second.paused = paused;
}

std::optional<Step> Scheduler::Next() {
  Draft draft;
  draft.budget = limits_.max_num_batched_tokens;
  ScheduleResidents(draft, /*generating=*/true);
  ScheduleResidents(draft, /*generating=*/false);
  if (!draft.preempted) Admit(draft);
  if (draft.step.entries.empty()) return std::nullopt;
  draft.step.ends = std::move(ends_);
  ends_.clear();
  draft.step.step = next_step_++;
  return std::move(draft.step);
}

void Scheduler::ScheduleResidents(Draft& draft, bool generating) {
  const std::vector<uint64_t> oldest_first(residents_.begin(), residents_.end());
  for (uint64_t sequence : oldest_first) {
    if (draft.budget == 0) return;
    auto it = entries_.find(sequence);
    const Entry& entry = it->second;
    // Preempted for an older one, or an entry of the other pass.
    if (!Resident(sequence) || entry.paused || entry.scheduled > 0) continue;
    uint32_t rest = entry.length - entry.computed;
    if (rest == 0 || (rest == 1) != generating) continue;
    Grant(sequence, std::min(rest, draft.budget), draft);
  }
}

bool Scheduler::Grant(uint64_t sequence, uint32_t tokens, Draft& draft) {
  Entry& entry = entries_.at(sequence);
  uint32_t held = static_cast<uint32_t>(entry.blocks.size());
  uint32_t wanted = BlocksFor(entry.computed + tokens);
  uint32_t more = wanted > held ? wanted - held : 0;
  auto blocks = pool_.Allocate(more);
  while (!blocks) {
    uint64_t victim = *Victim(/*only_paused=*/false);  // `sequence` itself is one
    Preempt(victim, draft);
    if (victim == sequence) return false;
    blocks = pool_.Allocate(more);
  }
  entry.blocks.insert(entry.blocks.end(), blocks->begin(), blocks->end());
  entry.scheduled = tokens;
  draft.budget -= tokens;
  draft.step.entries.push_back({sequence, tokens, *std::move(blocks)});
  return true;
}

std::optional<uint64_t> Scheduler::Victim(bool only_paused) const {
  for (auto it = residents_.rbegin(); it != residents_.rend(); ++it) {
    if (entries_.at(*it).paused) return *it;
  }
  if (only_paused || residents_.empty()) return std::nullopt;
  return *residents_.rbegin();
}

void Scheduler::Preempt(uint64_t sequence, Draft& draft) {
  Entry& entry = entries_.at(sequence);
  if (!entry.paused) draft.preempted = true;
  if (entry.scheduled > 0) {
    draft.budget += entry.scheduled;
    std::erase_if(draft.step.entries,
                  [sequence](const SequenceStep& step) { return step.sequence == sequence; });
  }
  pool_.Free(entry.blocks);
  entry.blocks.clear();
  entry.computed = entry.scheduled = 0;
  residents_.erase(sequence);
  waiting_.insert(sequence);
  ends_.push_back(sequence);
  ++num_preemptions_;
}

uint32_t Scheduler::Reserve() const {
  uint32_t reserve = 0;
  for (uint64_t sequence : residents_) {
    const Entry& entry = entries_.at(sequence);
    if (entry.paused) continue;
    uint32_t held = static_cast<uint32_t>(entry.blocks.size());
    uint32_t wanted = BlocksFor(entry.length + 1);
    // One more each: or what is admitted now would soon be preempted for the next block.
    reserve += wanted > held ? wanted - held : 1;
  }
  return reserve;
}

// A seat, and blocks for all that is known, without touching sequences that are not paused.
bool Scheduler::MakeRoom(const Entry& entry, Draft& draft) {
  uint32_t wanted = BlocksFor(entry.length);
  uint32_t reserve = Reserve();
  while (num_resident() >= limits_.max_num_seqs || pool_.num_free() < wanted + reserve) {
    auto victim = Victim(/*only_paused=*/true);
    if (!victim) return false;
    Preempt(*victim, draft);
  }
  return true;
}

void Scheduler::Admit(Draft& draft) {
  const std::vector<uint64_t> oldest_first(waiting_.begin(), waiting_.end());
  for (uint64_t sequence : oldest_first) {
    Entry& entry = entries_.at(sequence);
    if (entry.paused) continue;
    if (draft.budget == 0 || !MakeRoom(entry, draft)) return;
    waiting_.erase(sequence);
    residents_.insert(sequence);
    ++entry.admission;
    SequenceStart start;
    start.sequence = sequence;
    start.admission = entry.admission;
    draft.step.starts.push_back(std::move(start));
    Grant(sequence, std::min(entry.length, draft.budget), draft);
  }
}

bool Scheduler::Draws(uint64_t sequence) const {
  auto it = entries_.find(sequence);
  return it != entries_.end() && it->second.scheduled > 0 &&
         it->second.computed + it->second.scheduled == it->second.length;
}

void Scheduler::Completed(const std::map<uint64_t, uint32_t>& drawn) {
  for (uint64_t sequence : residents_) {
    Entry& entry = entries_.at(sequence);
    entry.computed += entry.scheduled;
    entry.scheduled = 0;
  }
  for (const auto& [sequence, count] : drawn) {
    auto it = entries_.find(sequence);
    if (it != entries_.end()) it->second.length += count;
  }
}

}  // namespace tessera::server
