// Beam search over what the workers say of each beam's next token. Pure: who computes the beams,
// and in which blocks, is the engine's business.
#ifndef TESSERA_SERVER_ENGINE_BEAM_SEARCH_H_
#define TESSERA_SERVER_ENGINE_BEAM_SEARCH_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "server/scheduler/step.h"

namespace tessera::server {

// A step expands every beam by its likeliest tokens (num_candidates of them, by raw logprobs).
// Those that are stop ids complete a hypothesis; of the others the `width` likeliest sums go on. It
// ends when every beam has max_tokens, or when `width` hypotheses are complete and no beam can come
// to score better than the worst of them. The score of a hypothesis is the sum of its tokens'
// logprobs over (number of tokens)^length_penalty (Wu et al., arXiv:1609.08144, as Hugging Face has
// it); a stop id is one of the tokens. Ties: what stood first, that is the better parent, then the
// lower id. Owned by one thread.
class BeamSearch {
 public:
  struct Options {
    uint32_t width = 1;
    float length_penalty = 1;
    uint32_t max_tokens = 1;
    uint32_t min_tokens = 0;  // no hypothesis is complete before
    std::vector<uint32_t> stop_token_ids;
    uint32_t logprobs = 0;  // alternatives that are kept with every token
  };

  struct Hypothesis {
    std::vector<Token> tokens;
    double sum = 0;    // of logprobs
    double score = 0;  // of a complete one
    std::optional<uint32_t> stop_token_id;
  };

  explicit BeamSearch(Options options) : options_(std::move(options)), beams_(1) {}

  // Tokens that a step must bring of every beam: so many that stop ids leave enough others.
  uint32_t num_candidates() const {
    const uint32_t stops = static_cast<uint32_t>(options_.stop_token_ids.size());
    return options_.width + std::max(options_.width, stops);
  }

  // Beams under way, the best first; at first there is one, of no tokens.
  const std::vector<Hypothesis>& beams() const { return beams_; }
  bool done() const { return beams_.empty(); }

  // `next[b]`: the likeliest tokens after beam b, descending. Returns of which former beam each new
  // one is the continuation by its last token.
  std::vector<size_t> Advance(absl::Span<const std::vector<TopToken>> next);

  // When done: at most `count` hypotheses, the best first.
  std::vector<Hypothesis> Best(size_t count) const;

 private:
  struct Candidate {
    size_t parent;
    size_t rank;  // in the parent's list
    double sum;
  };
  double Score(double sum, size_t tokens) const;
  bool Stops(uint32_t id, size_t tokens) const;
  Hypothesis Extend(const Candidate& candidate, const std::vector<TopToken>& next) const;
  void Complete(Hypothesis hypothesis);
  // Whether a beam under way could still be among the best.
  bool MayImprove() const;

  const Options options_;
  std::vector<Hypothesis> beams_;
  std::vector<Hypothesis> complete_;  // descending, at most `width`
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_ENGINE_BEAM_SEARCH_H_
