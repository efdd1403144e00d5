// Which tokens of which sequences the next step computes, and in which blocks.
#ifndef TESSERA_SERVER_SCHEDULER_SCHEDULER_H_
#define TESSERA_SERVER_SCHEDULER_SCHEDULER_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "server/kv/block_pool.h"
#include "server/scheduler/step.h"

namespace tessera::server {

struct SchedulerLimits {
  uint32_t max_num_batched_tokens = 0;  // per step; at least max_num_seqs
  uint32_t max_num_seqs = 0;            // that the workers know at a time
  uint32_t block_size = 16;             // tokens
  uint32_t num_blocks = 0;
};

// The policy, without threads or I/O. A sequence is *waiting* (the workers do not know it) or
// *resident* (it holds blocks). A step takes, within the token budget:
//   1. one token of every resident sequence that generates, the oldest first;
//   2. chunks of resident prompts that are not done, the oldest first;
//   3. waiting sequences, strictly the oldest first: one that does not fit yet holds up the others.
// Where a resident sequence needs a block and none is free, another one is preempted: it gives up
// its blocks and waits, to be computed again from its log. Paused ones go first, then the youngest;
// so the oldest that is not paused always gets on. Age is the order of Add. Owned by one thread;
// one step is under way at a time.
class Scheduler {
 public:
  explicit Scheduler(const SchedulerLimits& limits);

  // Adds a waiting sequence of `length` known tokens that may grow to `max_length` tokens in all.
  // Ids ascend. False, and nothing is added, where it could never fit the cache.
  bool Add(uint64_t sequence, uint32_t length, uint32_t max_length);
  // Forgets a sequence at any time; its blocks are free at once. Unknown ids are ignored.
  void Remove(uint64_t sequence);
  // A paused sequence is not scheduled and keeps its blocks until others need them.
  void SetPaused(uint64_t sequence, bool paused);

  // The next step, or nothing where nothing can be computed now. `starts` hold sequence and
  // admission alone: the rest is the log's. No step may be under way.
  std::optional<Step> Next();
  // The step that Next returned has been computed. `drawn`: how many ids each of its sequences
  // gained; those not named gained none.
  void Completed(const std::map<uint64_t, uint32_t>& drawn);

  // Whether the step under way reaches the end of what is known of a sequence, so that it draws.
  bool Draws(uint64_t sequence) const;
  bool Resident(uint64_t sequence) const { return residents_.count(sequence) > 0; }
  uint32_t num_resident() const { return static_cast<uint32_t>(residents_.size()); }
  uint32_t num_waiting() const { return static_cast<uint32_t>(waiting_.size()); }
  uint64_t num_preemptions() const { return num_preemptions_; }
  const BlockPool& pool() const { return pool_; }

 private:
  struct Entry {
    uint32_t length = 0;     // tokens known
    uint32_t computed = 0;   // of them, whose keys and values lie in the cache
    uint32_t scheduled = 0;  // of them, in the step under way
    uint32_t admission = 0;
    bool paused = false;
    std::vector<uint32_t> blocks;
  };

  // The work of one Next().
  struct Draft {
    Step step;
    uint32_t budget = 0;
    bool preempted = false;
  };

  uint32_t BlocksFor(uint32_t tokens) const {
    return (tokens + limits_.block_size - 1) / limits_.block_size;
  }
  void ScheduleResidents(Draft& draft, bool generating);
  void Admit(Draft& draft);
  // Grants `tokens` of a resident sequence, with the blocks that they need. False where `sequence`
  // itself was preempted for them.
  bool Grant(uint64_t sequence, uint32_t tokens, Draft& draft);
  // Who is preempted next: the youngest paused one, else (not `only_paused`) the youngest.
  std::optional<uint64_t> Victim(bool only_paused) const;
  void Preempt(uint64_t sequence, Draft& draft);
  // Blocks that the residents which are not paused will need for their next tokens.
  uint32_t Reserve() const;
  bool MakeRoom(const Entry& entry, Draft& draft);

  SchedulerLimits limits_;
  BlockPool pool_;
  std::map<uint64_t, Entry> entries_;  // all; ids ascend with age
  std::set<uint64_t> waiting_;
  std::set<uint64_t> residents_;
  std::vector<uint64_t> ends_;  // to be told with the next step
  uint64_t next_step_ = 1;
  uint64_t num_preemptions_ = 0;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_SCHEDULER_SCHEDULER_H_
