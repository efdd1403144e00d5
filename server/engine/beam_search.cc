#include "server/engine/beam_search.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace tessera::server {

BeamSearch::BeamSearch(Options options) : options_(std::move(options)), beams_(1) {
  for (const TokenBias& each : options_.logit_bias) {
    highest_bias_ = std::max(highest_bias_, double{each.bias});
  }
}

double BeamSearch::BiasOf(uint32_t id) const {
  const auto at = std::lower_bound(options_.logit_bias.begin(), options_.logit_bias.end(), id,
                                   [](const TokenBias& bias, uint32_t of) { return bias.id < of; });
  return at == options_.logit_bias.end() || at->id != id ? 0 : double{at->bias};
}

double BeamSearch::Score(double sum, size_t tokens) const {
  return sum / std::pow(static_cast<double>(tokens), options_.length_penalty);
}

bool BeamSearch::Stops(uint32_t id, size_t tokens) const {
  const std::vector<uint32_t>& stops = options_.stop_token_ids;
  return tokens > options_.min_tokens && std::find(stops.begin(), stops.end(), id) != stops.end();
}

BeamSearch::Hypothesis BeamSearch::Extend(const Candidate& candidate, const Token& next) const {
  Hypothesis hypothesis = beams_[candidate.parent];
  Token token;
  token.id = next.candidates[candidate.rank].id;
  token.logprob = next.candidates[candidate.rank].logprob;
  token.top = next.top;
  hypothesis.tokens.push_back(std::move(token));
  hypothesis.sum = candidate.sum;
  return hypothesis;
}

void BeamSearch::Complete(Hypothesis hypothesis) {
  hypothesis.score = Score(hypothesis.sum, hypothesis.tokens.size());
  // Behind those that are as good: the first to come stays before.
  auto at =
      std::upper_bound(complete_.begin(), complete_.end(), hypothesis,
                       [](const Hypothesis& a, const Hypothesis& b) { return a.score > b.score; });
  complete_.insert(at, std::move(hypothesis));
  if (complete_.size() > options_.width) complete_.pop_back();
}

bool BeamSearch::MayImprove() const {
  if (complete_.size() < options_.width) return true;
  // A sum rises by biases alone; the length that flatters it most is the next or the longest.
  const size_t next = beams_[0].tokens.size() + 1;
  const size_t last = options_.max_tokens;
  const double rise = highest_bias_ * static_cast<double>(last - next + 1);
  return std::any_of(beams_.begin(), beams_.end(), [&](const Hypothesis& beam) {
    const double highest = beam.sum + rise;
    return std::max(Score(highest, next), Score(highest, last)) > complete_.back().score;
  });
}

std::vector<size_t> BeamSearch::Advance(absl::Span<const Token> next) {
  const size_t length = beams_[0].tokens.size() + 1;
  std::vector<Candidate> candidates;
  std::vector<Candidate> stopping;
  for (size_t parent = 0; parent < beams_.size(); ++parent) {
    for (size_t rank = 0; rank < next[parent].candidates.size(); ++rank) {
      const TopToken& token = next[parent].candidates[rank];
      const bool is_stop = std::find(options_.stop_token_ids.begin(), options_.stop_token_ids.end(),
                                     token.id) != options_.stop_token_ids.end();
      // A stop id is no token of an answer that goes on.
      if (is_stop && !Stops(token.id, length)) continue;
      (is_stop ? stopping : candidates)
          .push_back(
              {parent, rank, beams_[parent].sum + (double{token.logprob} + BiasOf(token.id))});
    }
  }
  for (const Candidate& candidate : stopping) {
    Hypothesis hypothesis = Extend(candidate, next[candidate.parent]);
    hypothesis.stop_token_id = hypothesis.tokens.back().id;
    Complete(std::move(hypothesis));
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) { return a.sum > b.sum; });
  if (candidates.size() > options_.width) candidates.resize(options_.width);
  std::vector<Hypothesis> beams;
  std::vector<size_t> parents;
  for (const Candidate& candidate : candidates) {
    beams.push_back(Extend(candidate, next[candidate.parent]));
    parents.push_back(candidate.parent);
  }
  beams_ = std::move(beams);
  if (length == options_.max_tokens) {
    for (Hypothesis& beam : beams_) Complete(std::move(beam));
    beams_.clear();
  } else if (!beams_.empty() && !MayImprove()) {
    beams_.clear();
  }
  if (beams_.empty()) parents.clear();
  return parents;
}

std::vector<BeamSearch::Hypothesis> BeamSearch::Best(size_t count) const {
  return {complete_.begin(), complete_.begin() + std::min(count, complete_.size())};
}

}  // namespace tessera::server
