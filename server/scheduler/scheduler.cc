#include "server/scheduler/scheduler.h"

#include <algorithm>
#include <cassert>
#include <limits>
#include <tuple>
#include <utility>

namespace tessera::server {
namespace {

// Sequences per step that are looked at and left out; each costs a look-up of its prompt.
constexpr size_t kMostDeferred = 64;

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options)
    : options_(options),
      pool_(options.num_blocks),
      cache_({.block_size = options.block_size,
              .enabled = options.prefix_cache,
              .num_slots = options.num_kv_slots},
             &pool_),
      queue_(options.queue) {
  assert(options.block_size > 0 && options.max_num_seqs > 0 && options.stages > 0);
  assert(options.max_num_batched_tokens >= options.max_num_seqs);
}

bool Scheduler::Before(const Entry* a, const Entry* b) {
  return std::make_tuple(-int64_t{a->level}, a->waiter.order, a->id()) <
         std::make_tuple(-int64_t{b->level}, b->waiter.order, b->id());
}

Scheduler::Entry* Scheduler::NewEntry(uint64_t sequence, const SequenceInfo& info) {
  assert(!info.log->empty() && info.log->size() <= info.max_length);
  assert(sequence > last_id_);
  if (BlocksFor(info.max_length) > pool_.num_blocks()) return nullptr;
  last_id_ = sequence;
  std::unique_ptr<Entry>& entry = entries_[sequence];
  entry = std::make_unique<Entry>();
  entry->info = info;
  entry->waiter = {.sequence = sequence,
                   .order = info.order,
                   .priority = info.priority,
                   .arrival = info.arrival,
                   .tenant = queue_.Enter(info.tenant)};
  return entry.get();
}

bool Scheduler::Add(uint64_t sequence, const SequenceInfo& info) {
  Entry* entry = NewEntry(sequence, info);
  if (entry == nullptr) return false;
  entry->chain = cache_.Open(info.cache_scope);
  SetWaiting(entry);
  return true;
}

bool Scheduler::Fork(uint64_t parent, uint64_t sequence, const SequenceInfo& info) {
  const Entry& from = *entries_.at(parent);
  SequenceInfo own = info;
  own.tenant = from.info.tenant;
  own.priority = from.info.priority;
  own.arrival = from.info.arrival;
  own.order = from.info.order;
  own.cache_scope = from.info.cache_scope;
  Entry* entry = NewEntry(sequence, own);
  if (entry == nullptr) return false;
  // NewEntry may have moved the map's slots, never the entries.
  entry->cached = std::min(from.granted, static_cast<uint32_t>(info.log->size()) - 1);
  const uint32_t whole = SharedBlocks(from, *entry);
  entry->blocks.assign(from.blocks.begin(), from.blocks.begin() + whole);
  for (uint32_t block : entry->blocks) pool_.Share(block);
  if (entry->cached > whole * options_.block_size) {
    entry->copied_block = from.blocks[whole];
    pool_.Share(*entry->copied_block);
  }
  entry->chain = cache_.Fork(from.chain, entry->blocks);
  if (entry->holds()) forks_.push_back(entry);
  SetWaiting(entry);
  return true;
}

uint32_t Scheduler::SharedBlocks(const Entry& parent, const Entry& fork) const {
  const uint32_t size = options_.block_size;
  const uint32_t length = static_cast<uint32_t>(fork.info.log->size());
  const uint32_t last = length - 1;
  const bool same = parent.granted >= length && (*parent.info.log)[last] == (*fork.info.log)[last];
  // A full block is shared whole: the last token, computed again, is written as it stands there.
  return (length % size == 0 && same ? length : fork.cached) / size;
}

void Scheduler::SetWaiting(Entry* entry) {
  entry->resident = false;
  if (!entry->paused) queue_.Push(&entry->waiter);
}

void Scheduler::LetGo(Entry* entry) {
  if (entry->copied_block) pool_.Release(*std::exchange(entry->copied_block, std::nullopt));
  cache_.Release(entry->chain, entry->blocks);
  entry->chain = cache_.Open(entry->info.cache_scope);
  std::erase(forks_, entry);
  entry->blocks.clear();
  entry->cached = entry->granted = entry->reported = 0;
  entry->unfinished = entry->drawing = entry->guessing = 0;
}

void Scheduler::Remove(uint64_t sequence) {
  auto it = entries_.find(sequence);
  if (it == entries_.end()) return;
  Entry* entry = it->second.get();
  if (entry->resident) {
    ends_.push_back(sequence);
    residents_.erase(std::lower_bound(residents_.begin(), residents_.end(), entry, Before));
  } else {
    queue_.Erase(&entry->waiter);
  }
  LetGo(entry);
  cache_.Release(entry->chain, {});
  queue_.Leave(entry->waiter.tenant);
  entries_.erase(it);
}

void Scheduler::SetPaused(uint64_t sequence, bool paused) {
  auto it = entries_.find(sequence);
  if (it == entries_.end() || it->second->paused == paused) return;
  Entry* entry = it->second.get();
  entry->paused = paused;
  if (entry->resident) return;
  if (paused) {
    queue_.Erase(&entry->waiter);
  } else {
    queue_.Push(&entry->waiter);
  }
}

bool Scheduler::Resident(uint64_t sequence) const {
  auto it = entries_.find(sequence);
  return it != entries_.end() && it->second->resident;
}

std::optional<Step> Scheduler::Next(absl::Time now) {
  if (flights_.size() >= options_.max_in_flight) return std::nullopt;
  Draft draft;
  draft.now = now;
  draft.budget = options_.max_num_batched_tokens;
  // Guesses leave every resident its token, and prompts half of the rest.
  draft.guesses = (draft.budget - std::min(draft.budget, num_resident())) / 2;
  ScheduleResidents(draft, /*generating=*/true);
  ScheduleResidents(draft, /*generating=*/false);
  // Who was preempted must not come back in the same step, unless nothing else is left to do.
  if (!draft.preempted || draft.step.entries.empty()) Admit(draft);
  if (draft.step.entries.empty()) return std::nullopt;
  draft.step.ends = std::move(ends_);
  ends_.clear();
  draft.step.copies = cache_.TakeCopies();
  draft.step.step = draft.flight.step = next_step_++;
  flights_.push_back(std::move(draft.flight));
  return std::move(draft.step);
}

bool Scheduler::Eligible(const Entry& entry) const {
  if (!entry.resident || entry.paused || entry.rest() == 0) return false;
  if (entry.info.one_at_a_time && entry.unfinished > 0) return false;
  if (entry.drawing == 0) return true;
  // The last token that it may have is never computed.
  return entry.length() < entry.info.max_length && next_step_ - entry.last_drawn >= options_.stages;
}

uint32_t Scheduler::GeneratingShare() const {
  if (options_.stages == 1) return std::numeric_limits<uint32_t>::max();
  uint32_t generating = 0;
  for (const Entry* entry : residents_) {
    generating += !entry->paused && (entry->drawing > 0 || entry->rest() == 1);
  }
  return (generating + options_.stages - 1) / options_.stages;
}

void Scheduler::ScheduleResidents(Draft& draft, bool generating) {
  const std::vector<Entry*> in_order = residents_;  // preemption takes from the other
  uint32_t share = generating ? GeneratingShare() : std::numeric_limits<uint32_t>::max();
  for (Entry* entry : in_order) {
    if (draft.budget == 0 || share == 0) return;
    if (!Eligible(*entry) || (entry->rest() == 1) != generating) continue;
    share -= Grant(entry, std::min(entry->rest(), draft.budget), draft);
  }
}

bool Scheduler::Grant(Entry* entry, uint32_t tokens, Draft& draft) {
  const uint32_t held = static_cast<uint32_t>(entry->blocks.size());
  const bool draws = entry->granted + tokens == entry->length();
  uint32_t guesses =
      draws ? std::min({entry->info.max_ids - 1, draft.guesses, draft.budget - tokens}) : 0;
  // Guesses take what is free, and nobody's blocks.
  const auto more_for = [&](uint32_t count) {
    return std::max(held, BlocksFor(entry->Reach(tokens, count))) - held;
  };
  if (more_for(guesses) > pool_.num_available()) guesses = 0;
  const uint32_t more = more_for(guesses);
  auto blocks = pool_.Allocate(more);
  while (!blocks) {
    if (!DropForks(entry)) {
      Entry* victim = LastPaused();
      if (victim == nullptr) victim = residents_.back();
      Preempt(victim, draft);
      if (victim == entry) return false;
    }
    blocks = pool_.Allocate(more);
  }
  entry->blocks.insert(entry->blocks.end(), blocks->begin(), blocks->end());
  entry->granted += tokens;
  ++entry->unfinished;
  if (draws) {
    ++entry->drawing;
    entry->guessing += guesses;
    entry->last_drawn = next_step_;
  }
  FairQueue::Charge(entry->waiter.tenant, tokens);
  draft.budget -= tokens + guesses;
  draft.guesses -= guesses;
  draft.flight.parts.push_back({entry->id(), entry->admission, entry->granted, 1 + guesses, draws});
  draft.step.entries.push_back({entry->id(), tokens, *std::move(blocks), 1 + guesses});
  return true;
}

Scheduler::Entry* Scheduler::LastPaused() const {
  auto it = std::find_if(residents_.rbegin(), residents_.rend(),
                         [](const Entry* entry) { return entry->paused; });
  return it == residents_.rend() ? nullptr : *it;
}

bool Scheduler::DropForks(const Entry* except) {
  bool dropped = false;
  for (Entry* entry : std::vector<Entry*>(forks_)) {
    if (entry == except) continue;
    LetGo(entry);
    dropped = true;
  }
  return dropped;
}

void Scheduler::Preempt(Entry* entry, Draft& draft) {
  if (!entry->paused) draft.preempted = true;
  auto own = [entry](const auto& part) { return part.sequence == entry->id(); };
  auto& entries = draft.step.entries;
  if (auto granted = std::find_if(entries.begin(), entries.end(), own); granted != entries.end()) {
    draft.budget += granted->num_tokens + granted->max_ids - 1;
    draft.guesses += granted->max_ids - 1;
    entries.erase(granted);
    std::erase_if(draft.flight.parts, own);
  }
  LetGo(entry);
  residents_.erase(std::lower_bound(residents_.begin(), residents_.end(), entry, Before));
  ends_.push_back(entry->id());
  SetWaiting(entry);
  ++num_preemptions_;
}

uint32_t Scheduler::Reserve() const {
  uint32_t reserve = 0;
  for (const Entry* entry : residents_) {
    if (entry->paused) continue;
    const uint32_t held = static_cast<uint32_t>(entry->blocks.size());
    const uint32_t next =
        entry->length() + (entry->drawing == 0) + entry->guessing + 2 * (entry->info.max_ids - 1);
    const uint32_t wanted = BlocksFor(std::min(next, entry->info.max_length));
    // One more each: or what is admitted now would soon be preempted for the next block.
    reserve += wanted > held ? wanted - held : 1;
  }
  return reserve;
}

bool Scheduler::HasRoom(const Entry& entry, const Cached& found) const {
  const uint32_t more =
      BlocksFor(entry.length()) - static_cast<uint32_t>(entry.blocks.size() + found.blocks.size());
  auto is_idle = [this](uint32_t block) { return pool_.holders(block) == 0; };
  // Idle ones that are found are taken too, and one is held until it is copied.
  const auto idle = std::count_if(found.blocks.begin(), found.blocks.end(), is_idle) +
                    (found.partial.tokens > 0 && is_idle(found.partial.block));
  return pool_.num_available() >= more + static_cast<uint32_t>(idle) + Reserve();
}

bool Scheduler::MakeRoom(const Entry& entry, Cached& found, Draft& draft) {
  // For a copy nobody is preempted, and nothing waits.
  if (found.partial.tokens > 0 && !HasRoom(entry, found)) found.partial = {};
  while (num_resident() >= options_.max_num_seqs || !HasRoom(entry, found)) {
    if (num_resident() < options_.max_num_seqs && DropForks(&entry)) continue;
    Entry* victim = LastPaused();
    if (victim == nullptr && !residents_.empty()) victim = residents_.back();
    if (victim == nullptr || !(victim->paused || victim->level < entry.level)) return false;
    Preempt(victim, draft);
  }
  return true;
}

void Scheduler::Admit(Draft& draft) {
  std::vector<Entry*> deferred;
  while (draft.budget > 0) {
    const FairQueue::Turn turn = queue_.Next(draft.now);
    if (turn.waiter == nullptr) break;
    Entry* entry = entries_.at(turn.waiter->sequence).get();
    Cached found;
    if (!entry->holds() && entry->info.reads_cache) {
      found = FindCached(*entry);
      if (deferred.size() < kMostDeferred && ComingSoon(*entry, found.size())) {
        queue_.Erase(&entry->waiter);
        deferred.push_back(entry);
        continue;
      }
    }
    entry->level = turn.level;
    if (MakeRoom(*entry, found, draft)) {
      Start(entry, found, draft);
    } else if (num_resident() == 0 && entry->holds()) {
      LetGo(entry);  // it holds a block more than it would need alone
    } else {
      break;
    }
  }
  for (Entry* entry : deferred) queue_.Push(&entry->waiter);
}

void Scheduler::SetOffloadCosts(const OffloadCosts& costs) {
  offload_costs_ = costs;
  cache_.SetSpills(FetchIsCheaper(costs, 1, options_.block_size));
}

uint32_t Scheduler::CachedTokens(const Entry& entry, size_t found) const {
  // At least one token is computed: a step without one would draw nothing.
  return std::min(static_cast<uint32_t>(found) * options_.block_size,
                  static_cast<uint32_t>(entry.info.log->size()) - 1);
}

Scheduler::Cached Scheduler::FindCached(const Entry& entry) const {
  const std::vector<uint32_t>& log = *entry.info.log;
  Cached found;
  found.blocks = cache_.Find(entry.chain, log);
  found.spilled = cache_.FindSpilled(entry.chain, log, found.blocks);
  const uint32_t in_blocks = CachedTokens(entry, found.blocks.size());
  const uint32_t saved = CachedTokens(entry, found.size()) - in_blocks;
  const auto fetched = static_cast<uint32_t>(found.spilled.size());
  if (!FetchIsCheaper(offload_costs_, fetched, saved)) found.spilled.clear();
  if (!found.spilled.empty()) return found;
  // Without the last token: that is computed.
  found.partial = cache_.FindPartial(absl::MakeConstSpan(log).first(log.size() - 1), found.blocks);
  return found;
}

bool Scheduler::ComingSoon(const Entry& entry, size_t found) const {
  const std::vector<uint32_t>& log = *entry.info.log;
  const size_t end = (found + 1) * options_.block_size;
  if (!options_.prefix_cache || log.size() < end) return false;
  return std::any_of(residents_.begin(), residents_.end(), [&](const Entry* other) {
    return other->reported < end && end <= other->info.log->size() && !other->paused &&
           !other->chain.closed && other->chain.scope == entry.chain.scope &&
           std::equal(log.begin(), log.begin() + end, other->info.log->begin());
  });
}

void Scheduler::Start(Entry* entry, const Cached& found, Draft& draft) {
  queue_.Erase(&entry->waiter);
  std::erase(forks_, entry);
  entry->resident = true;
  residents_.insert(std::upper_bound(residents_.begin(), residents_.end(), entry, Before), entry);
  if (found.size() > 0) {
    cache_.Take(entry->chain, found.blocks);
    entry->blocks = found.blocks;
    const std::vector<uint32_t> fetched = cache_.Fetch(entry->chain, found.spilled);
    entry->blocks.insert(entry->blocks.end(), fetched.begin(), fetched.end());
    entry->cached = CachedTokens(*entry, found.size());
    num_fetched_tokens_ += entry->cached - CachedTokens(*entry, found.blocks.size());
    if (found.partial.tokens > 0) {
      entry->cached += found.partial.tokens;
      entry->copied_block = found.partial.block;
      pool_.Share(found.partial.block);
    }
  }
  if (entry->copied_block) {
    const uint32_t from = *std::exchange(entry->copied_block, std::nullopt);
    const uint32_t to = pool_.Allocate(1)->front();
    cache_.Owe({from, to});
    entry->blocks.push_back(to);
    pool_.Release(from);
  }
  entry->granted = std::exchange(entry->cached, 0);
  entry->told = static_cast<uint32_t>(entry->info.log->size());
  ++entry->admission;
  SequenceStart& start = draft.step.starts.emplace_back();
  start.sequence = entry->id();
  start.admission = entry->admission;
  start.cached_tokens = entry->granted;
  start.blocks = entry->blocks;
  const bool granted = Grant(entry, std::min(entry->rest(), draft.budget), draft);
  assert(granted);  // MakeRoom has seen to it
  static_cast<void>(granted);
}

void Scheduler::EnterBlocks(Entry* entry) {
  if (!options_.prefix_cache || entry->chain.closed) return;
  const std::vector<uint32_t>& log = *entry->info.log;
  const size_t size = options_.block_size;
  const size_t certain = std::min<size_t>(entry->reported, log.size());
  while (!entry->chain.closed && (entry->chain.depth + 1) * size <= certain) {
    const uint32_t depth = entry->chain.depth;
    cache_.Enter(entry->chain, entry->blocks[depth],
                 absl::MakeConstSpan(log).subspan(depth * size, size));
  }
}

void Scheduler::TakeGuesses(Entry* entry, Part& part) {
  --entry->drawing;
  entry->guessing -= part.max_ids - 1;
  const uint32_t known = static_cast<uint32_t>(entry->info.log->size());
  const uint32_t drawn = known - std::exchange(entry->told, known);
  if (drawn <= 1) return;
  part.end += drawn - 1;
  entry->granted += drawn - 1;
  for (Flight& later : flights_) {
    for (Part& other : later.parts) {
      if (other.sequence == part.sequence && other.admission == part.admission) {
        other.end += drawn - 1;
      }
    }
  }
}

void Scheduler::Reported() {
  assert(!flights_.empty());
  Flight flight = std::move(flights_.front());
  flights_.pop_front();
  for (Part& part : flight.parts) {
    auto it = entries_.find(part.sequence);
    if (it == entries_.end()) continue;
    Entry* entry = it->second.get();
    if (!entry->resident || entry->admission != part.admission) continue;
    --entry->unfinished;
    if (part.draws) TakeGuesses(entry, part);
    entry->reported = part.end;
    EnterBlocks(entry);
  }
}

}  // namespace tessera::server
