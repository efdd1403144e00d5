// Beam search over what the workers say of each beam's next token. Pure: who computes the beams,
// and in which blocks, is the engine's business.
#ifndef TESSERA_SERVER_ENGINE_BEAM_SEARCH_H_
#define TESSERA_SERVER_ENGINE_BEAM_SEARCH_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "server/scheduler/step.h"

namespace tessera::server {

// A step expands every beam by its candidates: the num_candidates tokens that the workers find
// likeliest of those that the request allows. Those that are stop ids complete a hypothesis; of the
// others the `width` best sums go on, and a beam without candidates ends. It ends when every beam
// has max_tokens, or when `width` hypotheses are complete and no beam can come to score better than
// the worst of them. What a token adds to a sum is its raw logprob and its bias, which is not
// normalised again; the score of a hypothesis is its sum over (number of tokens)^length_penalty (Wu
// et al., arXiv:1609.08144; both as Hugging Face has it); a stop id is one of the tokens. Ties:
// what stood first, that is the better parent, then the worker's order. Owned by one thread.
class BeamSearch {
 public:
  struct Options {
    uint32_t width = 1;
    float length_penalty = 1;
    uint32_t max_tokens = 1;
    uint32_t min_tokens = 0;  // no hypothesis is complete before
    std::vector<uint32_t> stop_token_ids;
    std::vector<TokenBias> logit_bias;  // each id once, ascending
  };

  struct Hypothesis {
    std::vector<Token> tokens;
    double sum = 0;    // of logprobs and biases
    double score = 0;  // of a complete one
    std::optional<uint32_t> stop_token_id;
  };

  explicit BeamSearch(Options options);

  // Tokens that a step must bring of every beam: so many that stop ids leave enough others.
  uint32_t num_candidates() const {
    const uint32_t stops = static_cast<uint32_t>(options_.stop_token_ids.size());
    return options_.width + std::max(options_.width, stops);
  }

  // Beams under way, the best first; at first there is one, of no tokens.
  const std::vector<Hypothesis>& beams() const { return beams_; }
  bool done() const { return beams_.empty(); }

  // `next[b]`: what was drawn after beam b; its candidates count, and its alternatives go with each
  // of them. Returns of which former beam each new one is the continuation by its last token.
  std::vector<size_t> Advance(absl::Span<const Token> next);

  // When done: at most `count` hypotheses, the best first.
  std::vector<Hypothesis> Best(size_t count) const;

 private:
  struct Candidate {
    size_t parent;
    size_t rank;  // in the parent's list
    double sum;
  };
  double Score(double sum, size_t tokens) const;
  double BiasOf(uint32_t id) const;
  bool Stops(uint32_t id, size_t tokens) const;
  Hypothesis Extend(const Candidate& candidate, const Token& next) const;
  void Complete(Hypothesis hypothesis);
  // Whether a beam under way could still be among the best.
  bool MayImprove() const;

  const Options options_;
  double highest_bias_ = 0;  // of those above 0
  std::vector<Hypothesis> beams_;
  std::vector<Hypothesis> complete_;  // descending, at most `width`
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_ENGINE_BEAM_SEARCH_H_
