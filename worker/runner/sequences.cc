#include "worker/runner/sequences.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/status_macros.h"

namespace tessera::worker {
namespace {

template <typename... Parts>
absl::Status Violation(uint64_t sequence, const Parts&... parts) {
  return absl::InternalError(absl::StrCat("worker: sequence ", sequence, ": ", parts...));
}

uint32_t TokensOf(const SequenceStep& entry, const Sequence& sequence) {
  return std::min(entry.num_tokens, sequence.known() - sequence.computed);
}

}  // namespace

bool IsStop(const Sequence& sequence, uint32_t id) {
  const std::vector<uint32_t>& stops = sequence.start.stop_token_ids;
  return std::find(stops.begin(), stops.end(), id) != stops.end();
}

uint32_t MostRanked(const SequenceStart& start) {
  return std::max(start.logprobs.value_or(0), start.candidates);
}

void ShareRanked(const SequenceStart& start, Token* token) {
  if (start.candidates == 0) return;
  for (const TopToken& each : token->top) {
    if (token->candidates.size() == start.candidates || std::isinf(each.logprob)) break;
    token->candidates.push_back(each);
  }
  token->top.resize(std::min<size_t>(token->top.size(), start.logprobs.value_or(0)));
}

uint32_t SequenceWork::prompt_rows_end() const {
  if (!sequence->start.prompt_logprobs.has_value()) return begin;
  return std::clamp(sequence->start.prompt_length - 1, begin, end);
}

absl::Status SequenceTable::CheckBlocks(uint64_t sequence,
                                        const std::vector<uint32_t>& blocks) const {
  for (uint32_t block : blocks) {
    if (block >= limits_.num_kv_blocks) {
      return Violation(sequence, "block ", block, " is granted, but there are ",
                       limits_.num_kv_blocks);
    }
  }
  return absl::OkStatus();
}

absl::Status SequenceTable::CheckStart(const SequenceStart& start) const {
  const uint64_t name = start.sequence;
  if (start.token_ids.empty() || start.prompt_length == 0 ||
      start.prompt_length > start.token_ids.size()) {
    return Violation(name, "starts with ", start.token_ids.size(), " tokens and a prompt of ",
                     start.prompt_length, "; expected a prompt of at least one, and all of it");
  }
  if (start.token_ids.size() > limits_.max_model_len) {
    return Violation(name, "starts with ", start.token_ids.size(), " tokens; max_model_len is ",
                     limits_.max_model_len);
  }
  for (uint32_t id : start.token_ids) {
    if (id >= limits_.vocab_size) {
      return Violation(name, "token id ", id, " is not in the vocabulary of ", limits_.vocab_size);
    }
  }
  if (start.cached_tokens >= start.token_ids.size() ||
      start.cached_tokens > start.blocks.size() * uint64_t{limits_.block_tokens}) {
    return Violation(name, "starts with ", start.cached_tokens, " cached tokens of ",
                     start.token_ids.size(), " in ", start.blocks.size(), " blocks");
  }
  RETURN_IF_ERROR(CheckBlocks(name, start.blocks));
  const uint32_t top = std::max(MostRanked(start), start.prompt_logprobs.value_or(0));
  if (top > limits_.max_logprobs) {
    return Violation(name, "asks for ", top, " logprobs; max_logprobs is ", limits_.max_logprobs);
  }
  return CheckRestrictions(start);
}

absl::Status SequenceTable::CheckRestrictions(const SequenceStart& start) const {
  uint32_t highest = 0;
  for (uint32_t id : start.restrictions.allowed_ids) highest = std::max(highest, id);
  for (const TokenBias& each : start.restrictions.logit_bias) highest = std::max(highest, each.id);
  for (const std::vector<uint32_t>& word : start.restrictions.bad_words) {
    if (word.empty()) return Violation(start.sequence, "has a bad word of no tokens");
    for (uint32_t id : word) highest = std::max(highest, id);
  }
  if (highest < limits_.vocab_size) return absl::OkStatus();
  return Violation(start.sequence, "restricts token id ", highest,
                   ", which is not in the vocabulary of ", limits_.vocab_size);
}

absl::Status SequenceTable::CheckEntry(const SequenceStep& entry, const Sequence& sequence) const {
  if (entry.num_tokens == 0) return Violation(entry.sequence, "an entry of no tokens");
  RETURN_IF_ERROR(CheckBlocks(entry.sequence, entry.new_blocks));
  const uint64_t slots = (sequence.blocks.size() + entry.new_blocks.size()) * limits_.block_tokens;
  const uint64_t needed = uint64_t{sequence.computed} + TokensOf(entry, sequence);
  if (needed > slots) {
    return Violation(entry.sequence, "blocks for ", slots, " tokens are granted, but the step ",
                     "reaches ", needed);
  }
  return absl::OkStatus();
}

absl::Status SequenceTable::Check(const StepInput& step) const {
  const std::unordered_set<uint64_t> ended(step.ends.begin(), step.ends.end());
  std::unordered_map<uint64_t, const SequenceStart*> started;
  size_t left = sequences_.size();
  for (uint64_t sequence : ended) left -= sequences_.count(sequence);
  for (const SequenceStart& start : step.starts) {
    const bool known = sequences_.count(start.sequence) > 0 && ended.count(start.sequence) == 0;
    if (known || !started.emplace(start.sequence, &start).second) {
      return Violation(start.sequence, "starts twice");
    }
    RETURN_IF_ERROR(CheckStart(start));
  }
  if (left + started.size() > limits_.max_num_seqs) {
    return absl::InternalError(absl::StrCat("worker: ", left + started.size(),
                                            " sequences at one time; max_num_seqs is ",
                                            limits_.max_num_seqs));
  }
  for (const BlockCopy& copy : step.copies) {
    const bool fetch = copy.kind == BlockCopy::Kind::kFetch;
    const bool spill = copy.kind == BlockCopy::Kind::kSpill;
    if (copy.from >= (fetch ? limits_.num_kv_slots : limits_.num_kv_blocks) ||
        copy.to >= (spill ? limits_.num_kv_slots : limits_.num_kv_blocks)) {
      return absl::InternalError(absl::StrCat("worker: ", fetch ? "slot " : "block ", copy.from,
                                              " is copied to ", spill ? "slot " : "", copy.to,
                                              ", but there are ", limits_.num_kv_blocks,
                                              " blocks and ", limits_.num_kv_slots, " slots"));
    }
  }
  std::unordered_set<uint64_t> seen;
  uint64_t tokens = 0;
  for (const SequenceStep& entry : step.entries) {
    if (!seen.insert(entry.sequence).second) {
      return Violation(entry.sequence, "two entries in step ", step.step);
    }
    Sequence fresh;
    const Sequence* sequence = &fresh;
    if (auto start = started.find(entry.sequence); start != started.end()) {
      fresh.start = *start->second;
      fresh.computed = fresh.start.cached_tokens;
      fresh.blocks = fresh.start.blocks;
    } else if (auto it = sequences_.find(entry.sequence);
               it != sequences_.end() && ended.count(entry.sequence) == 0) {
      sequence = &it->second;
    } else {
      return Violation(entry.sequence, "is not known in step ", step.step);
    }
    if (sequence->finish != Finish::kRunning) continue;
    RETURN_IF_ERROR(CheckEntry(entry, *sequence));
    const SequenceWork work = WorkOf(entry, *sequence);
    tokens += work.end - work.begin + work.num_drafts;
  }
  if (tokens > limits_.max_num_batched_tokens) {
    return absl::InternalError(absl::StrCat("worker: step ", step.step, " has ", tokens,
                                            " tokens; max_num_batched_tokens is ",
                                            limits_.max_num_batched_tokens));
  }
  return absl::OkStatus();
}

uint32_t SequenceTable::RoomToDraw(const Sequence& sequence) const {
  const uint32_t generated = sequence.generated();
  const uint32_t known = sequence.known();
  if (generated >= sequence.start.max_tokens || known >= limits_.max_model_len) return 0;
  return std::min(sequence.start.max_tokens - generated, limits_.max_model_len - known);
}

SequenceWork SequenceTable::WorkOf(const SequenceStep& entry, const Sequence& sequence) const {
  SequenceWork work;
  work.begin = sequence.computed;
  work.end = work.begin + TokensOf(entry, sequence);
  const uint32_t room = RoomToDraw(sequence);
  work.draws = work.end == sequence.known() && room > 0;
  work.max_ids = entry.max_ids;
  if (!work.draws || entry.max_ids <= 1) return work;
  const size_t blocks = sequence.blocks.size() + entry.new_blocks.size();
  const size_t slots = blocks * limits_.block_tokens - work.end;
  work.num_drafts = static_cast<uint32_t>(
      std::min<size_t>({sequence.drafts.size(), entry.max_ids - 1, room - 1, slots}));
  return work;
}

absl::StatusOr<std::vector<SequenceWork>> SequenceTable::Begin(const StepInput& step) {
  RETURN_IF_ERROR(Check(step));
  for (uint64_t sequence : step.ends) sequences_.erase(sequence);
  for (const SequenceStart& start : step.starts) {
    Sequence& sequence = sequences_[start.sequence];
    sequence.start = start;
    sequence.computed = start.cached_tokens;
    sequence.blocks = start.blocks;
  }
  std::vector<SequenceWork> work;
  for (const SequenceStep& entry : step.entries) {
    Sequence& sequence = sequences_[entry.sequence];
    if (sequence.finish != Finish::kRunning) continue;
    work.push_back(WorkOf(entry, sequence));
    work.back().sequence = &sequence;
    sequence.blocks.insert(sequence.blocks.end(), entry.new_blocks.begin(), entry.new_blocks.end());
  }
  return work;
}

void SequenceTable::Advance(const SequenceWork& work, const DrawRecord& record) {
  Sequence& sequence = *work.sequence;
  sequence.computed = work.end;
  sequence.drafts = record.drafts;
  if (record.outcome == DrawRecord::kFailed) {
    sequence.finish = Finish::kFailed;
    return;
  }
  if (record.outcome == DrawRecord::kDrawn) {
    // All but the last of them were drafts, whose keys and values are in the cache.
    sequence.computed += static_cast<uint32_t>(record.ids.size()) - 1;
    std::vector<uint32_t>& ids = sequence.start.token_ids;
    ids.insert(ids.end(), record.ids.begin(), record.ids.end());
    if (IsStop(sequence, ids.back())) {
      sequence.finish = Finish::kStop;
      return;
    }
  } else if (sequence.computed < sequence.known()) {
    return;  // more of the prompt is to come
  }
  if (RoomToDraw(sequence) == 0) sequence.finish = Finish::kLength;
}

void SequenceTable::AdvanceAhead(const SequenceWork& work) {
  Sequence& sequence = *work.sequence;
  sequence.computed = work.end;
  if (work.draws) sequence.start.token_ids.push_back(kUnknownId);
  if (sequence.computed < sequence.known() - (work.draws ? 1 : 0)) return;
  if (RoomToDraw(sequence) == 0) sequence.finish = Finish::kLength;
}

void SequenceTable::Resolve(Sequence* sequence, uint32_t position, const DrawRecord& record) {
  std::vector<uint32_t>& ids = sequence->start.token_ids;
  if (record.outcome != DrawRecord::kDrawn) {
    ids.resize(position);
    sequence->computed = std::min(sequence->computed, position);
    sequence->finish = Finish::kFailed;
    return;
  }
  ids[position] = record.ids.front();
  if (!IsStop(*sequence, ids[position])) return;
  ids.resize(position + 1);
  sequence->computed = std::min(sequence->computed, position);
  sequence->finish = Finish::kStop;
}

}  // namespace tessera::worker
