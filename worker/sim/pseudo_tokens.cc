#include "worker/sim/pseudo_tokens.h"

#include <algorithm>

namespace tessera::worker {
namespace {

// The finalizer of splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators).
uint64_t Mix(uint64_t value) {
  value += 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

}  // namespace

uint64_t ExtendLogHash(uint64_t hash, uint32_t id) { return Mix(hash ^ (uint64_t{id} + 1)); }

uint32_t DrawPseudoId(const PseudoDraw& draw) {
  const uint64_t bits = Mix(draw.log_hash ^ Mix(draw.seed) ^ (uint64_t{draw.index} << 32));
  const auto first = static_cast<uint32_t>(bits % draw.vocab_size);
  uint32_t id = first;
  while (std::find(draw.masked_ids.begin(), draw.masked_ids.end(), id) != draw.masked_ids.end()) {
    id = (id + 1) % draw.vocab_size;
    if (id == first) break;
  }
  return id;
}

Token MakePseudoToken(uint32_t id, uint64_t log_hash, uint32_t num_top, uint32_t vocab_size) {
  Token token;
  token.id = id;
  token.logprob = -0.5f - static_cast<float>(Mix(log_hash ^ id) % 1024) / 1024;
  num_top = std::min(num_top, vocab_size);
  for (uint32_t rank = 0; rank < num_top; ++rank) {
    token.top.push_back({(id + rank) % vocab_size, token.logprob - static_cast<float>(rank)});
  }
  return token;
}

}  // namespace tessera::worker
