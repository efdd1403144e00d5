// The sequences of one request: one, several that are drawn side by side, or beams.
#ifndef TESSERA_SERVER_ENGINE_SEQUENCE_GROUP_H_
#define TESSERA_SERVER_ENGINE_SEQUENCE_GROUP_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "server/engine/beam_search.h"
#include "server/engine/request.h"
#include "server/engine/sequence.h"
#include "server/scheduler/step.h"
#include "server/text/tokenizer.h"

namespace tessera::server {

// Says what is to be computed, and what the reader gets of it; ids, blocks and steps are the
// caller's. The prompt is computed once, by the first member; the others fork from it. Owned by one
// thread; borrows the tokenizer.
class SequenceGroup {
 public:
  // A sequence that workers compute.
  struct Member {
    // The caller's:
    uint64_t id = 0;  // as scheduler and workers know it; 0: they do not yet
    uint32_t admission = 0;
    uint64_t drawn_step = 0;  // the last one that brought tokens

    uint32_t index = 0;
    bool paused = false;  // it waits for the others of its round
    // One that is drawn:
    std::unique_ptr<Sequence> sequence;
    DeltaEvent held;  // of best_of: its answer, which may be no part of the reply
    double sum = 0;   // of its logprobs
    // A beam:
    std::vector<uint32_t> beam_log;
    std::optional<Token> round;  // what its step brought; no candidates: nothing may follow

    const std::vector<uint32_t>& log() const { return sequence ? sequence->log() : beam_log; }
  };

  // `max_length`: as of Sequence.
  SequenceGroup(Request request, uint32_t max_length, const Tokenizer& tokenizer);

  const Request& request() const { return request_; }
  // Those under way; of several that are drawn all but the first fork from it.
  const std::vector<std::unique_ptr<Member>>& members() const { return members_; }
  bool is_beams() const { return search_.has_value(); }
  // Tokens that a member may grow to.
  uint32_t max_length() const { return max_length_; }
  // Fills in what the workers are told of a member, beside what the scheduler knows.
  void Describe(const Member& member, SequenceStart& start) const;

  // Until the first member ends.
  void AddPromptLogprobs(uint32_t position, std::vector<Token> tokens) {
    if (first_ != nullptr) first_->AddPromptLogprobs(position, std::move(tokens));
  }
  std::vector<Token> TakePromptLogprobs() {
    return first_ == nullptr ? std::vector<Token>() : first_->TakePromptLogprobs();
  }

  // Whether a failed result only ends a beam after which the request allows no token.
  bool IsDeadEnd(const SequenceResult& result) const {
    return is_beams() && result.nothing_to_draw;
  }
  // What a step brought of a member, or a dead end; what the reader may see of it comes into
  // `events`. INTERNAL where the workers broke their contract.
  absl::Status Take(Member& member, SequenceResult& result, std::vector<ResponseEvent>& events);

  struct Fork {
    const Member* parent;
    Member* child;  // new to scheduler and workers
  };
  // What follows from the results of a step, to be done in this order.
  struct Changes {
    std::vector<Fork> forks;
    std::vector<std::unique_ptr<Member>> ends;  // no longer members
    std::vector<const Member*> paused;          // whose `paused` has changed
    std::vector<ResponseEvent> events;
    bool done = false;     // nothing is left to compute
    absl::Status failure;  // instead of the events: the request cannot be answered
  };
  // Also once before any result, for what has ended without being computed.
  Changes Settle();

  // Members that the scheduler is to be given as they are: with an id of 0, without those that will
  // fork from the first.
  std::vector<Member*> Unplaced() const;
  // The workers are gone: members are to be computed anew from their logs.
  void LoseWorkers();

 private:
  absl::Status TakeBeam(Member& member, SequenceResult& result);
  void SettleDrawn(Changes& changes);
  void SettleBeams(Changes& changes);
  // Gives every new beam to a member: the parent itself, where it has drawn just that token.
  void FollowBeams(const std::vector<size_t>& parents, Changes& changes);
  void TellBest(Changes& changes);
  void TellBeams(Changes& changes);
  // Whether it is known only at the end which answers are part of the reply.
  bool holds_back() const { return request_.best_of > request_.n; }

  const Request request_;
  const uint32_t model_length_;
  const Tokenizer& tokenizer_;
  uint32_t max_length_ = 0;
  Sequence* first_ = nullptr;  // that the prompt's logprobs come to, as long as it is a member
  std::vector<std::unique_ptr<Member>> members_;
  // Answers that have ended and are not told yet: of best_of.
  struct HeldBack {
    double sum;
    DeltaEvent delta;
    FinishedEvent finished;
  };
  std::vector<HeldBack> held_back_;
  bool first_begun_ = false;               // and the others with it
  std::unique_ptr<Sequence> beam_prompt_;  // what all beams have in common
  std::optional<BeamSearch> search_;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_ENGINE_SEQUENCE_GROUP_H_
