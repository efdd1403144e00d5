#include "server/engine/sequence_group.h"

#include <algorithm>
#include <utility>

namespace tessera::server {
namespace {

using Member = SequenceGroup::Member;

// Of all members the first alone computes logits of the prompt.
Request RequestOf(const Request& request, uint32_t index) {
  Request own = request;
  if (index > 0) own.prompt_logprobs.reset();
  return own;
}

void Add(DeltaEvent delta, DeltaEvent& to) {
  to.text += delta.text;
  to.tokens.insert(to.tokens.end(), std::make_move_iterator(delta.tokens.begin()),
                   std::make_move_iterator(delta.tokens.end()));
}

// An answer of which nothing has been told, as number `index` of the reply.
void TellWhole(DeltaEvent delta, FinishedEvent finished, uint32_t index,
               std::vector<ResponseEvent>& events) {
  delta.index = finished.index = index;
  events.emplace_back(std::move(delta));
  events.emplace_back(std::move(finished));
}

}  // namespace

SequenceGroup::SequenceGroup(Request request, uint32_t max_length, const Tokenizer& tokenizer)
    : request_(std::move(request)), model_length_(max_length), tokenizer_(tokenizer) {
  const uint32_t count = request_.beam_width ? 1 : request_.best_of;
  for (uint32_t index = 0; index < count; ++index) {
    members_.push_back(std::make_unique<Member>());
    members_[index]->index = index;
    members_[index]->sequence =
        std::make_unique<Sequence>(RequestOf(request_, index), max_length, tokenizer);
  }
  Member& first = *members_[0];
  first_ = first.sequence.get();
  max_length_ = first_->prompt_length() + first_->max_tokens();
  if (!request_.beam_width) return;
  beam_prompt_ = std::move(first.sequence);
  first.beam_log = request_.prompt;
  search_.emplace(BeamSearch::Options{.width = *request_.beam_width,
                                      .length_penalty = request_.length_penalty,
                                      .max_tokens = first_->max_tokens(),
                                      .min_tokens = request_.min_tokens,
                                      .stop_token_ids = request_.stop_token_ids,
                                      .logit_bias = request_.sampling.logit_bias});
}

void SequenceGroup::Describe(const Member& member, SequenceStart& start) const {
  if (!is_beams()) {
    member.sequence->Describe(start);
    start.index = member.index;
    return;
  }
  // Workers say what is likeliest; what stops is seen here.
  beam_prompt_->Describe(start);
  start.token_ids = member.beam_log;
  start.sampling = {.temperature = 0,
                    .seed = request_.sampling.seed,
                    .logit_bias = request_.sampling.logit_bias,
                    .allowed_token_ids = request_.sampling.allowed_token_ids,
                    .bad_words = request_.sampling.bad_words};
  start.min_tokens = 0;
  start.stop_token_ids.clear();
  start.candidates = search_->num_candidates();
}

absl::Status SequenceGroup::Take(Member& member, SequenceResult& result,
                                 std::vector<ResponseEvent>& events) {
  if (is_beams()) return TakeBeam(member, result);
  for (const Token& token : result.tokens) member.sum += double{token.logprob};
  DeltaEvent delta = member.sequence->Append(std::move(result.tokens));
  delta.index = member.index;
  if (holds_back()) {
    Add(std::move(delta), member.held);
  } else {
    events.emplace_back(std::move(delta));
  }
  if (member.sequence->finished() || result.finish == Finish::kRunning) return absl::OkStatus();
  return absl::InternalError("the workers ended a sequence before its end");
}

absl::Status SequenceGroup::TakeBeam(Member& member, SequenceResult& result) {
  if (result.nothing_to_draw) {
    member.round.emplace();
    return absl::OkStatus();
  }
  if (result.tokens.size() != 1 || member.round) {
    return absl::InternalError("the workers went ahead of a beam");
  }
  if (result.tokens[0].candidates.empty()) {
    return absl::InternalError("the workers sent no candidates of a beam");
  }
  member.round = std::move(result.tokens[0]);
  return absl::OkStatus();
}

SequenceGroup::Changes SequenceGroup::Settle() {
  Changes changes;
  if (is_beams()) {
    SettleBeams(changes);
  } else {
    SettleDrawn(changes);
  }
  return changes;
}

void SequenceGroup::SettleDrawn(Changes& changes) {
  const bool begun = first_begun_ || members_[0]->sequence->finished() ||
                     members_[0]->sequence->generated() > request_.continue_from.size();
  if (begun && !first_begun_) {
    first_begun_ = true;
    for (auto it = members_.begin() + 1; it != members_.end(); ++it) {
      if (!(*it)->sequence->finished()) changes.forks.push_back({members_[0].get(), it->get()});
    }
  }
  std::vector<std::unique_ptr<Member>> running;
  for (std::unique_ptr<Member>& member : members_) {
    if (!member->sequence->finished()) {
      running.push_back(std::move(member));
      continue;
    }
    FinishedEvent finished = *member->sequence->finished();
    finished.index = member->index;
    if (holds_back()) {
      held_back_.push_back({member->sum, std::move(member->held), std::move(finished)});
    } else {
      changes.events.emplace_back(std::move(finished));
    }
    if (member->sequence.get() == first_) first_ = nullptr;
    changes.ends.push_back(std::move(member));
  }
  members_ = std::move(running);
  changes.done = members_.empty();
  if (changes.done && holds_back()) TellBest(changes);
}

// As vLLM defines it: the highest sums of logprobs; of equal ones the lower index.
void SequenceGroup::TellBest(Changes& changes) {
  std::sort(held_back_.begin(), held_back_.end(), [](const HeldBack& a, const HeldBack& b) {
    return a.sum != b.sum ? a.sum > b.sum : a.finished.index < b.finished.index;
  });
  for (uint32_t i = 0; i < request_.n; ++i) {
    TellWhole(std::move(held_back_[i].delta), std::move(held_back_[i].finished), i, changes.events);
  }
}

void SequenceGroup::SettleBeams(Changes& changes) {
  const bool complete = std::all_of(members_.begin(), members_.end(),
                                    [](const auto& member) { return member->round.has_value(); });
  if (!complete) {
    // Those that are here may be in the way of the others, who wait for room.
    for (std::unique_ptr<Member>& member : members_) {
      if (!member->round || std::exchange(member->paused, true)) continue;
      changes.paused.push_back(member.get());
    }
    return;
  }
  std::vector<Token> next;
  for (const std::unique_ptr<Member>& member : members_) next.push_back(*member->round);
  FollowBeams(search_->Advance(next), changes);
  changes.done = search_->done();
  if (changes.done) TellBeams(changes);
}

void SequenceGroup::FollowBeams(const std::vector<size_t>& parents, Changes& changes) {
  std::vector<std::unique_ptr<Member>> former = std::move(members_);
  members_.clear();
  std::vector<std::optional<size_t>> stays(former.size());  // as which beam
  for (size_t b = 0; b < parents.size(); ++b) {
    const uint32_t id = search_->beams()[b].tokens.back().id;
    const Member& parent = *former[parents[b]];
    if (!stays[parents[b]] && id == parent.round->id) {
      stays[parents[b]] = b;
      members_.push_back(nullptr);
      continue;
    }
    auto child = std::make_unique<Member>();
    child->index = static_cast<uint32_t>(b);
    child->beam_log = parent.beam_log;
    child->beam_log.push_back(id);
    changes.forks.push_back({&parent, child.get()});
    members_.push_back(std::move(child));
  }
  for (size_t p = 0; p < former.size(); ++p) {
    if (!stays[p]) {
      changes.ends.push_back(std::move(former[p]));
      continue;
    }
    Member& member = *former[p];
    member.index = static_cast<uint32_t>(*stays[p]);
    member.beam_log.push_back(member.round->id);
    member.round.reset();
    if (std::exchange(member.paused, false)) changes.paused.push_back(&member);
    members_[*stays[p]] = std::move(former[p]);
  }
}

void SequenceGroup::TellBeams(Changes& changes) {
  const std::vector<BeamSearch::Hypothesis> best = search_->Best(request_.n);
  if (best.size() < request_.n) {
    changes.failure = absl::InvalidArgumentError(
        "the stop ids, allowed_token_ids and bad_words leave fewer answers than sampling.n; allow "
        "more, or ask for fewer");
  }
  for (uint32_t i = 0; i < best.size(); ++i) {
    Sequence answer(RequestOf(request_, 1), model_length_, tokenizer_);
    DeltaEvent delta = answer.Append(best[i].tokens);
    TellWhole(std::move(delta), *answer.finished(), i, changes.events);
  }
}

std::vector<Member*> SequenceGroup::Unplaced() const {
  std::vector<Member*> unplaced;
  for (const std::unique_ptr<Member>& member : members_) {
    if (member->id == 0) unplaced.push_back(member.get());
    if (!is_beams() && !first_begun_) break;
  }
  return unplaced;
}

void SequenceGroup::LoseWorkers() {
  for (const std::unique_ptr<Member>& member : members_) {
    member->id = 0;
    member->admission = 0;
    member->drawn_step = 0;
    member->paused = false;
    member->round.reset();
  }
}

}  // namespace tessera::server
