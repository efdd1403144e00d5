#include "tests/golden/engine/answers.h"

#include <algorithm>
#include <bit>
#include <map>
#include <memory>
#include <random>
#include <stdexcept>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "server/engine/engine_core.h"
#include "tests/golden/engine/runner_executor.h"
#include "tests/support/demo_tokenizer.h"
#include "tests/support/fixtures.h"

namespace tessera::tests {
namespace {

using server::EngineCore;
using server::Request;
using server::ResponseStream;
using server::Token;

void Append(const std::vector<Token>& tokens, std::string& answer) {
  for (const Token& token : tokens) {
    absl::StrAppend(&answer, token.id, ":", absl::Hex(std::bit_cast<uint32_t>(token.logprob)));
    for (const auto& top : token.top) {
      absl::StrAppend(&answer, ",", top.id, ":", absl::Hex(std::bit_cast<uint32_t>(top.logprob)));
    }
    absl::StrAppend(&answer, " ");
  }
}

// The answers of all replicas, as far as they have come.
class Answers {
 public:
  explicit Answers(Served& served) : served_(served) {}

  std::shared_ptr<ResponseStream> Open(uint64_t key) {
    return readings_[key].stream = std::make_shared<ResponseStream>(size_t{1} << 30);
  }
  void ReadAll() {
    for (auto reading = readings_.begin(); reading != readings_.end();) {
      const bool ended = Read(reading->second, served_.answers[reading->first - 1]);
      reading = ended ? readings_.erase(reading) : std::next(reading);
    }
  }

 private:
  // Sequences of one request come in any order beside each other.
  struct Reading {
    std::shared_ptr<ResponseStream> stream;
    std::map<uint32_t, std::string> sequences;
  };

  bool Read(Reading& reading, std::string& answer) {
    while (auto event = reading.stream->Take()) {
      if (auto* accepted = std::get_if<server::AcceptedEvent>(&*event)) {
        Append(accepted->prompt_logprobs, answer);
      } else if (auto* delta = std::get_if<server::DeltaEvent>(&*event)) {
        Append(delta->tokens, reading.sequences[delta->index]);
      } else if (auto* finished = std::get_if<server::FinishedEvent>(&*event)) {
        absl::StrAppend(&reading.sequences[finished->index], "| ",
                        static_cast<int>(finished->reason), " ", finished->completion_tokens);
        served_.cached_tokens += finished->cached_tokens;
      } else if (auto* status = std::get_if<absl::Status>(&*event)) {
        for (const auto& [index, text] : reading.sequences) {
          absl::StrAppend(&answer, "#", index, " ", text);
        }
        if (!status->ok()) absl::StrAppend(&answer, "failed: ", status->ToString());
        return true;
      }
    }
    return false;
  }

  Served& served_;
  std::map<uint64_t, Reading> readings_;
};

// The groups that a replica has one after the other.
class Groups : public server::Executor {
 public:
  Groups(const std::string& checkpoint, const GroupOptions& options)
      : checkpoint_(checkpoint), options_(options) {
    Renew();
  }
  // What is under way is run to its end, as ranks wait for each other, and nobody sees it.
  void Renew() {
    while (under_way_ > 0) Take();
    group_ = std::make_unique<RunnerExecutor>(Fixture("checkpoints/" + checkpoint_), options_);
  }
  server::GroupFacts Facts() const { return group_->Facts(); }
  server::StepResult Take() {
    --under_way_;
    return group_->Take();
  }

  void Start(server::ExecutorEvents*) override {}
  void Submit(uint64_t epoch, const server::Step& step) override {
    ++under_way_;
    group_->Submit(epoch, step);
  }
  server::GroupStatus GetStatus() const override { return {}; }
  void Stop() override {}

 private:
  const std::string checkpoint_;
  const GroupOptions options_;
  std::unique_ptr<RunnerExecutor> group_;
  int under_way_ = 0;
};

// One replica: an engine core and its groups.
class Replica {
 public:
  Replica(const std::string& checkpoint, const Serving& serving, Served& served)
      : served_(served),
        groups_(checkpoint, serving.group),
        core_(Options(serving),
              {.tokenizer = &DemoTokenizer(),
               .executor = &groups_,
               .counters = &counters_,
               .losses = &losses_,
               .on_end = [](const Request&) {},
               .on_drained = [](uint64_t) {},
               .move =
                   [this](const server::MoveOffer& offer,
                          absl::FunctionRef<server::MovedRequest()> leave) {
                     if (next_ == nullptr || !next_->core_.room().Holds(offer.need)) return false;
                     next_->core_.Adopt(leave());
                     ++served_.moves;
                     return true;
                   }}) {
    core_.OnReady(epoch_, groups_.Facts(), absl::UnixEpoch());
  }
  ~Replica() {
    served_.preemptions += counters_.preemptions_total;
    served_.fetched_tokens += counters_.fetched_tokens_total;
    served_.spilled_blocks += counters_.blocks_spilled_total;
    served_.steps += counters_.steps_total;
  }
  // Where its requests go when its group is lost.
  void set_next(Replica* next) { next_ = next == this ? nullptr : next; }

  void Submit(uint64_t key, Request request, std::shared_ptr<ResponseStream> stream) {
    core_.Submit(key, std::move(request), std::move(stream));
  }

  // Sends steps, and takes one result. False where nothing is under way.
  bool Advance() {
    core_.Tick(absl::UnixEpoch());
    const bool busy = core_.num_live() > 0;
    if (busy) core_.OnStep(epoch_, groups_.Take());
    return busy;
  }

  // With all that is under way; the next one is there at once.
  void LoseGroup() {
    core_.OnLost(epoch_, absl::UnavailableError("rank 0: killed"), absl::UnixEpoch());
    groups_.Renew();
    core_.OnReady(++epoch_, groups_.Facts(), absl::UnixEpoch());
    ++served_.losses;
  }
  size_t num_live() const { return core_.num_live(); }

 private:
  static server::EngineOptions Options(const Serving& serving) {
    server::EngineOptions options;
    options.prefix_cache = serving.prefix_cache;
    return options;
  }

  Served& served_;
  server::Counters counters_;
  server::LossLog losses_;
  Groups groups_;
  uint64_t epoch_ = 1;
  Replica* next_ = nullptr;
  EngineCore core_;
};

}  // namespace

std::string Serving::ToString() const {
  return absl::StrCat("tp ", group.tp, " pp ", group.pp, " dp ", replicas, " threads ",
                      group.threads, " budget ", group.max_num_batched_tokens, " seqs ",
                      group.max_num_seqs, " blocks ", group.num_kv_blocks, " slots ",
                      group.num_kv_slots, group.kv_offload_dir.empty() ? "" : " in a file",
                      " cache ", prefix_cache, " at a time ", at_a_time, " order ", order_seed,
                      " losses every ", steps_to_loss, " guesses ", group.speculation.num_tokens,
                      group.draft.empty() ? "" : " by a draft");
}

Served Serve(const std::string& checkpoint, const std::vector<Request>& requests,
             const Serving& serving) {
  Served served;
  served.answers.resize(requests.size());
  std::vector<size_t> order(requests.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  if (serving.order_seed != 0) {
    std::shuffle(order.begin(), order.end(), std::mt19937_64(serving.order_seed));
  }
  Answers answers(served);
  std::vector<std::unique_ptr<Replica>> replicas;
  for (int i = 0; i < serving.replicas; ++i) {
    replicas.push_back(std::make_unique<Replica>(checkpoint, serving, served));
  }
  for (size_t i = 0; i < replicas.size(); ++i) {
    replicas[i]->set_next(replicas[(i + 1) % replicas.size()].get());
  }
  auto live = [&] {
    size_t count = 0;
    for (const auto& replica : replicas) count += replica->num_live();
    return count;
  };
  // Keys are indices, so that answers are found again; they ascend in every replica where the
  // requests are in their order, and are made to where they are not.
  std::vector<std::string> by_key(requests.size());
  size_t next = 0;
  int turn = 0;
  while (next < order.size() || live() > 0) {
    while (next < order.size() && live() < serving.at_a_time) {
      Request request = requests[order[next]];
      request.id = absl::StrCat("r", next);
      replicas[next % replicas.size()]->Submit(next + 1, std::move(request),
                                               answers.Open(next + 1));
      ++next;
    }
    for (const auto& replica : replicas) replica->Advance();
    if (serving.steps_to_loss > 0 && ++turn % serving.steps_to_loss == 0) {
      replicas[turn / serving.steps_to_loss % replicas.size()]->LoseGroup();
    }
    answers.ReadAll();
  }
  for (size_t i = 0; i < order.size(); ++i) by_key[order[i]] = std::move(served.answers[i]);
  served.answers = std::move(by_key);
  replicas.clear();
  return served;
}

std::vector<Request> MixedRequests(size_t count) {
  std::mt19937 random(7);
  std::vector<uint32_t> base;
  for (int i = 0; i < 120; ++i) base.push_back(3 + random() % 500);
  std::vector<Request> requests;
  for (size_t i = 0; i < count; ++i) {
    Request& request = requests.emplace_back();
    const size_t shared = i % 2 == 0 ? 0 : 1 + random() % base.size();
    request.prompt.assign(base.begin(), base.begin() + shared);
    const size_t own = (i % 2 == 0 ? 1 : 0) + random() % (i % 3 == 0 ? 60 : 20);
    for (size_t j = 0; j < own; ++j) request.prompt.push_back(3 + random() % 500);
    request.max_tokens = 1 + random() % 24;
    request.logprobs = i % 4;
    request.sampling.temperature = i % 3 == 0 ? 0.0f : 1.3f;
    request.sampling.seed = 1000 + i;
    request.sampling.top_p = i % 5 == 0 ? 0.9f : 1.0f;
    request.sampling.repetition_penalty = i % 7 == 0 ? 1.2f : 1.0f;
    if (i % 6 == 5) request.stop_token_ids = {3 + static_cast<uint32_t>(random() % 100)};
    if (i % 8 == 3) request.prompt_logprobs = 2;
  }
  return requests;
}

std::vector<Request> Twice(std::vector<Request> requests) {
  const auto again = requests;
  requests.insert(requests.end(), again.begin(), again.end());
  return requests;
}

}  // namespace tessera::tests
