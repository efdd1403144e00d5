// Which tokens of which sequences the next step computes, and in which blocks.
#ifndef TESSERA_SERVER_SCHEDULER_SCHEDULER_H_
#define TESSERA_SERVER_SCHEDULER_SCHEDULER_H_

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "server/kv/block_pool.h"
#include "server/kv/offload_costs.h"
#include "server/kv/prefix_cache.h"
#include "server/scheduler/fair_queue.h"
#include "server/scheduler/step.h"

namespace tessera::server {

struct SchedulerOptions {
  uint32_t max_num_batched_tokens = 0;  // per step; at least max_num_seqs
  uint32_t max_num_seqs = 0;            // that the workers know at a time
  uint32_t block_size = 16;             // tokens
  uint32_t num_blocks = 0;
  uint32_t max_in_flight = 1;  // steps under way at a time
  // Of the pipeline. A token that a step draws is at the first stage when so many steps have been
  // sent: a sequence is in every stages-th step, and the sequences are spread over the others.
  uint32_t stages = 1;
  bool prefix_cache = true;
  uint32_t num_kv_slots = 0;  // for evicted blocks, outside the cache; only with prefix_cache
  FairQueue::Options queue;
};

// What the scheduler is told of a sequence.
struct SequenceInfo {
  // All known tokens, at least one. Borrowed; grows by what steps draw, and outlives the sequence
  // here.
  const std::vector<uint32_t>* log = nullptr;
  uint32_t max_length = 0;  // tokens that it may grow to
  int32_t priority = 0;     // the higher, the sooner
  std::string tenant;
  absl::Time arrival;
  uint64_t order = 0;       // of arrival: the lower, the sooner; those of a request have the same
  bool reads_cache = true;  // false: all of it is computed, whatever the prefix cache has
  std::string cache_scope;  // of the prefix cache: nothing is shared between scopes
  // Ids that a step may add to it: more than one where workers guess. Guesses that are right bring
  // them, so a step is granted blocks for all.
  uint32_t max_ids = 1;
  bool one_at_a_time = false;  // never in two unfinished steps: the engine acts between them
};

// The policy, without threads or I/O. A sequence is *waiting* (the workers do not know it) or
// *resident* (it holds blocks). A step takes, within the token budget:
//   1. one token of every resident sequence that generates;
//   2. chunks of resident prompts that are not done;
//   3. waiting sequences, in the order of FairQueue: one that does not fit yet holds up the others;
//      one whose beginning is just being computed by another is passed over until that is done.
// Residents stand by the priority that they were admitted with, then by arrival: that is the order
// in 1 and 2. Where one needs a block and none is free, another is preempted: it gives up its
// blocks and waits, to be computed again from its log. Paused ones go first, then the last in that
// order; so the first that is not paused always gets on. A waiting sequence may take seat and
// blocks of paused ones and of those of a lower priority.
//
// A step is made while earlier ones are under way: a sequence that draws in one of them has a token
// more, which only the workers know. Owned by one thread.
class Scheduler {
 public:
  explicit Scheduler(const SchedulerOptions& options);

  // Adds a waiting sequence. Ids ascend. False, and nothing is added, where it could never fit the
  // cache.
  bool Add(uint64_t sequence, const SequenceInfo& info);
  // Adds `sequence`, whose log begins with the first tokens of `parent`'s, right behind it in the
  // order. It shares the parent's blocks as far as the parent has been computed, or is in steps
  // under way, but for the last known token, which it computes itself; a block that both would
  // write is copied. Tenant, priority and arrival are the parent's. False as of Add.
  bool Fork(uint64_t parent, uint64_t sequence, const SequenceInfo& info);
  // Forgets a sequence at any time; its blocks are free at once. Unknown ids are ignored.
  void Remove(uint64_t sequence);
  // A paused sequence is not scheduled and keeps its blocks until others need them.
  void SetPaused(uint64_t sequence, bool paused);

  // What decides whether spilled blocks are fetched or computed again; known better as time goes
  // by.
  void SetOffloadCosts(const OffloadCosts& costs);

  // The next step, or nothing where nothing can be computed now or max_in_flight are under way.
  // `starts` hold sequence, admission and what is cached: the rest is the log's.
  std::optional<Step> Next(absl::Time now);

  // One sequence's part in a step under way.
  struct Part {
    uint64_t sequence = 0;
    uint32_t admission = 0;
    uint32_t end = 0;  // tokens whose keys and values are in the cache afterwards, at least
    uint32_t max_ids = 1;
    bool draws = false;
  };
  struct Flight {
    uint64_t step = 0;
    std::vector<Part> parts;
  };
  // Steps under way, the oldest first.
  const std::deque<Flight>& flights() const { return flights_; }
  // The oldest step under way has been computed, and what it drew is in the logs.
  void Reported();

  bool Resident(uint64_t sequence) const;
  uint32_t num_resident() const { return static_cast<uint32_t>(residents_.size()); }
  uint32_t num_waiting() const { return static_cast<uint32_t>(entries_.size()) - num_resident(); }
  uint64_t num_preemptions() const { return num_preemptions_; }
  uint64_t num_fetched_tokens() const { return num_fetched_tokens_; }
  const BlockPool& pool() const { return pool_; }
  const PrefixCache& prefix_cache() const { return cache_; }

 private:
  struct Entry {
    SequenceInfo info;
    FairQueue::Waiter waiter;
    PrefixCache::Chain chain;
    std::vector<uint32_t> blocks;
    std::optional<uint32_t> copied_block;  // behind them, another's: held until it is copied
    uint32_t cached = 0;                   // tokens in the blocks that a fork which waits holds
    uint32_t admission = 0;
    int32_t level = 0;        // its priority when it was admitted
    uint32_t granted = 0;     // tokens computed, or in steps under way
    uint32_t reported = 0;    // of them, in steps that have been reported
    uint32_t unfinished = 0;  // steps under way that it is part of
    uint32_t drawing = 0;     // of them, those that draw
    uint32_t guessing = 0;    // ids that those may add beside one each
    uint32_t told = 0;        // tokens of the log when a step was last reported
    uint64_t last_drawn = 0;  // the number of the last one that draws
    bool resident = false;
    bool paused = false;

    bool holds() const { return !blocks.empty() || copied_block; }
    uint64_t id() const { return waiter.sequence; }
    // With the tokens that are being drawn.
    uint32_t length() const { return static_cast<uint32_t>(info.log->size()) + drawing; }
    uint32_t rest() const { return length() - granted; }
    // Tokens that may be computed when `tokens` more and `guesses` beside them are granted; and as
    // many again, in which the next guesses are made.
    uint32_t Reach(uint32_t tokens, uint32_t guesses) const {
      const uint32_t most = std::max(granted + tokens, info.max_length);
      return std::min(granted + tokens + guessing + 2 * guesses, most);
    }
  };

  // What a sequence that begins finds of its log.
  struct Cached {
    std::vector<uint32_t> blocks;
    std::vector<uint32_t> spilled;  // nodes behind them, to be fetched
    PrefixCache::Partial partial;   // where none are: behind the blocks, to be copied
    size_t size() const { return blocks.size() + spilled.size(); }
  };

  // The work of one Next().
  struct Draft {
    absl::Time now;
    Step step;
    Flight flight;
    uint32_t budget = 0;
    uint32_t guesses = 0;  // that may still be granted
    bool preempted = false;
  };

  uint32_t BlocksFor(uint32_t tokens) const {
    return (tokens + options_.block_size - 1) / options_.block_size;
  }
  // How `a` and `b` stand among the residents.
  static bool Before(const Entry* a, const Entry* b);
  Entry* NewEntry(uint64_t sequence, const SequenceInfo& info);
  // How many of the parent's blocks a fork shares: those that neither of them changes.
  uint32_t SharedBlocks(const Entry& parent, const Entry& fork) const;
  void SetWaiting(Entry* entry);
  // Whether a step may take tokens of a resident now.
  bool Eligible(const Entry& entry) const;
  void ScheduleResidents(Draft& draft, bool generating);
  // How many sequences that generate a step takes, so that the stages have equal ones.
  uint32_t GeneratingShare() const;
  void Admit(Draft& draft);
  Cached FindCached(const Entry& entry) const;
  // Tokens that need not be computed where so many blocks of the log are found.
  uint32_t CachedTokens(const Entry& entry, size_t found) const;
  // Whether a running prompt computes the block behind the `found` ones: worth waiting for.
  bool ComingSoon(const Entry& entry, size_t found) const;
  void Start(Entry* entry, const Cached& found, Draft& draft);
  // Grants `tokens` of a resident sequence, with the blocks that they need. False where it was
  // itself preempted for them.
  bool Grant(Entry* entry, uint32_t tokens, Draft& draft);
  Entry* LastPaused() const;
  void Preempt(Entry* entry, Draft& draft);
  // Gives up everything that it holds, or shares, of the cache.
  void LetGo(Entry* entry);
  // Forks that wait, but for `except`, give up what they share. False where there was nothing.
  bool DropForks(const Entry* except);
  // Blocks that the residents which are not paused will need for their next tokens.
  uint32_t Reserve() const;
  // Blocks for all that is known beside what is found.
  bool HasRoom(const Entry& entry, const Cached& found) const;
  // A seat and such blocks. `found` loses what would take room from others.
  bool MakeRoom(const Entry& entry, Cached& found, Draft& draft);
  // A step that drew has been reported: its guesses that were right count in those after it.
  void TakeGuesses(Entry* entry, Part& part);
  void EnterBlocks(Entry* entry);

  const SchedulerOptions options_;
  OffloadCosts offload_costs_;
  BlockPool pool_;
  PrefixCache cache_;
  FairQueue queue_;
  absl::flat_hash_map<uint64_t, std::unique_ptr<Entry>> entries_;
  std::vector<Entry*> residents_;  // sorted by Before
  std::vector<Entry*> forks_;      // that wait and hold blocks
  std::vector<uint64_t> ends_;     // to be told with the next step
  std::deque<Flight> flights_;
  uint64_t last_id_ = 0;
  uint64_t next_step_ = 1;
  uint64_t num_preemptions_ = 0;
  uint64_t num_fetched_tokens_ = 0;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_SCHEDULER_SCHEDULER_H_
