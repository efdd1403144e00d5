#include "tests/golden/model/group.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <thread>

#include "absl/strings/str_cat.h"
#include "shard_loader/plan/rank_plan.h"
#include "shard_loader/plan/workspace.h"
#include "worker/comm/local_communicator.h"

namespace tessera::tests {
namespace {

using worker::Finish;
using worker::SequenceStart;
using worker::Token;

void Require(const absl::Status& status) {
  if (!status.ok()) throw std::runtime_error(status.ToString());
}

template <typename T>
T Require(absl::StatusOr<T> value) {
  Require(value.status());
  return *std::move(value);
}

bool SameBits(float a, float b) { return std::memcmp(&a, &b, sizeof(a)) == 0; }

std::string RankedDifference(const std::vector<worker::TopToken>& a,
                             const std::vector<worker::TopToken>& b) {
  if (a.size() != b.size()) return absl::StrCat("of ", a.size(), " and of ", b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].id != b[i].id || !SameBits(a[i].logprob, b[i].logprob)) {
      return absl::StrCat(i, ": ", a[i].id, " at ", a[i].logprob, " and ", b[i].id, " at ",
                          b[i].logprob);
    }
  }
  return "";
}

std::string TokenDifference(const Token& a, const Token& b) {
  if (a.id != b.id) return absl::StrCat("id ", a.id, " and ", b.id);
  if (!SameBits(a.logprob, b.logprob))
    return absl::StrCat("logprob ", a.logprob, " and ", b.logprob);
  const std::string top = RankedDifference(a.top, b.top);
  if (!top.empty()) return "top " + top;
  const std::string candidates = RankedDifference(a.candidates, b.candidates);
  return candidates.empty() ? "" : "candidate " + candidates;
}

std::string TokensDifference(const std::vector<Token>& a, const std::vector<Token>& b) {
  if (a.size() != b.size()) return absl::StrCat(a.size(), " tokens and ", b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    const std::string difference = TokenDifference(a[i], b[i]);
    if (!difference.empty()) return absl::StrCat("token ", i, ": ", difference);
  }
  return "";
}

// A sequence under way, as a scheduler sees it.
struct Running {
  SequenceStart start;
  uint32_t known = 0;
  uint32_t computed = 0;
  uint32_t slots = 0;
  bool started = false;
};

}  // namespace

std::string Difference(const Answer& a, const Answer& b) {
  if (a.finish != b.finish) return "another finish";
  const std::string prompt = TokensDifference(a.prompt_tokens, b.prompt_tokens);
  if (!prompt.empty()) return "prompt: " + prompt;
  return TokensDifference(a.tokens, b.tokens);
}

bool operator==(const Answer& a, const Answer& b) { return Difference(a, b).empty(); }

Group::Group(const std::filesystem::path& model, const GroupOptions& options) : options_(options) {
  checkpoint_ = Require(shard_loader::Checkpoint::Open(model));
  if (!options.draft.empty()) draft_ = Require(shard_loader::Checkpoint::Open(options.draft));
  const std::vector<shard_loader::RankPlan> plans = Require(shard_loader::MakeRankPlans(
      checkpoint_->spec(), {options.tp, options.pp, options.lanes, options.ep}));
  std::vector<worker::GroupComms> comms =
      worker::MakeLocalComms(options.tp, options.pp, absl::Seconds(60));
  for (size_t rank = 0; rank < plans.size(); ++rank) {
    worker::RunnerOptions runner;
    runner.spec = checkpoint_->spec();
    runner.plan = plans[rank];
    runner.dtype = options.dtype;
    runner.kv_dtype = options.kv_dtype;
    runner.kernels = options.kernels;
    runner.make_backend = options.make_backend;
    runner.num_kv_blocks = options.num_kv_blocks;
    runner.num_kv_slots = options.num_kv_slots;
    runner.kv_offload_dir = options.kv_offload_dir;
    runner.max_model_len = options.max_model_len;
    runner.max_num_batched_tokens = options.max_num_batched_tokens;
    runner.max_num_seqs = options.max_num_seqs;
    runner.max_logprobs = static_cast<uint32_t>(checkpoint_->spec().vocab_size);
    runner.threads = options.threads;
    runner.speculation = options.speculation;
    if (plans[rank].has_head && plans[rank].tp_index == 0) runner.speculation.draft = draft_.get();
    runners_.push_back(Require(worker::Runner::Create(runner, *checkpoint_, nullptr)));
    if (options.wrap_tensor) {
      comms[rank].tensor = options.wrap_tensor(std::move(comms[rank].tensor));
    }
    Require(runners_.back()->Connect(std::move(comms[rank])));
  }
}

absl::StatusOr<worker::StepOutput> Group::Run(const worker::StepInput& step) {
  const size_t ranks = runners_.size();
  std::vector<absl::StatusOr<worker::StepOutput>> outputs(ranks);
  std::vector<std::thread> threads;
  for (size_t rank = 1; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] { outputs[rank] = runners_[rank]->Run(step); });
  }
  outputs[0] = runners_[0]->Run(step);
  for (std::thread& thread : threads) thread.join();
  for (const auto& output : outputs) {
    if (!output.ok()) return output.status();
    if (output->ids_hash != outputs[0]->ids_hash) throw std::runtime_error("ranks drew other ids");
  }
  return outputs[(options_.pp - 1) * options_.tp];
}

std::vector<Answer> Group::Generate(std::vector<SequenceStart> starts, uint32_t chunk) {
  std::vector<Answer> answers(starts.size());
  std::vector<Running> running(starts.size());
  const uint64_t first = next_sequence_;
  for (size_t i = 0; i < starts.size(); ++i) {
    running[i].start = starts[i];
    running[i].start.sequence = next_sequence_++;
    running[i].known = static_cast<uint32_t>(starts[i].token_ids.size());
  }
  uint32_t next_block = 0;
  for (;;) {
    worker::StepInput step;
    step.step = next_step_++;
    uint32_t budget = options_.max_num_batched_tokens;
    for (size_t i = 0; i < running.size(); ++i) {
      Running& sequence = running[i];
      if (answers[i].finish != Finish::kRunning || budget == 0) continue;
      if (!sequence.started) step.starts.push_back(sequence.start);
      sequence.started = true;
      worker::SequenceStep entry;
      entry.sequence = sequence.start.sequence;
      entry.num_tokens = std::min({chunk, budget, sequence.known - sequence.computed});
      budget -= entry.num_tokens;
      sequence.computed += entry.num_tokens;
      const uint32_t drafts = std::min(budget, options_.speculation.num_tokens);
      budget -= drafts;
      entry.max_ids = 1 + drafts;
      while (sequence.slots < sequence.computed + drafts) {
        entry.new_blocks.push_back(next_block++);
        sequence.slots += shard_loader::kKvBlockTokens;
      }
      step.entries.push_back(std::move(entry));
    }
    if (step.entries.empty()) {
      for (const Running& sequence : running) step.ends.push_back(sequence.start.sequence);
      Require(Run(step).status());
      return answers;
    }
    const worker::StepOutput output = Require(Run(step));
    ++num_steps_;
    for (const worker::SequenceResult& result : output.results) {
      Answer& answer = answers[result.sequence - first];
      Running& sequence = running[result.sequence - first];
      sequence.known += static_cast<uint32_t>(result.tokens.size());
      // All but the last of several are computed.
      if (!result.tokens.empty()) sequence.computed = sequence.known - 1;
      answer.tokens.insert(answer.tokens.end(), result.tokens.begin(), result.tokens.end());
      answer.prompt_tokens.insert(answer.prompt_tokens.end(), result.prompt_tokens.begin(),
                                  result.prompt_tokens.end());
      answer.finish = result.finish;
      answer.error = result.error;
    }
  }
}

SequenceStart GreedyStart(const std::vector<uint32_t>& prompt, uint32_t max_tokens) {
  SequenceStart start;
  start.token_ids = prompt;
  start.prompt_length = static_cast<uint32_t>(prompt.size());
  start.sampling.temperature = 0;
  start.max_tokens = max_tokens;
  return start;
}

}  // namespace tessera::tests
