#include "server/text/word_cache.h"

#include <cstring>

namespace tessera::server {

WordCache& WordCache::OfThread(uint64_t model_instance) {
  thread_local WordCache cache;
  if (cache.model_instance_ != model_instance) {
    cache.slots_ = std::make_unique<std::array<Slot, kSlots>>();
    cache.model_instance_ = model_instance;
  }
  return cache;
}

size_t WordCache::IndexOf(std::string_view word) {
  uint64_t hash = word.size() * 0x9E3779B97F4A7C15u;
  size_t pos = 0;
  for (; pos + 8 <= word.size(); pos += 8) {
    uint64_t part;
    std::memcpy(&part, word.data() + pos, 8);
    hash = (hash ^ part) * 0xFF51AFD7ED558CCDu;
    hash ^= hash >> 32;
  }
  uint64_t rest = 0;
  std::memcpy(&rest, word.data() + pos, word.size() - pos);
  hash = (hash ^ rest) * 0xC4CEB9FE1A85EC53u;
  return (hash ^ hash >> 29) % kSlots;
}

bool WordCache::Find(std::string_view word, uint32_t offset, std::vector<WordToken>* out) const {
  const Slot& slot = (*slots_)[IndexOf(word)];
  if (slot.length != word.size() || std::memcmp(slot.word.data(), word.data(), word.size()) != 0) {
    return false;
  }
  uint32_t begin = offset;
  for (size_t i = 0; i < slot.count; ++i) {
    const uint32_t end = offset + slot.ends[i];
    out->push_back({slot.ids[i], begin, end});
    begin = end;
  }
  return true;
}

void WordCache::Insert(std::string_view word, uint32_t offset, absl::Span<const WordToken> tokens) {
  if (tokens.size() > kMostTokens || word.size() > kLongestWord || word.empty()) return;
  uint32_t at = offset;
  for (const WordToken& token : tokens) {
    if (token.begin != at) return;
    at = token.end;
  }
  Slot& slot = (*slots_)[IndexOf(word)];
  slot.length = static_cast<uint8_t>(word.size());
  slot.count = static_cast<uint8_t>(tokens.size());
  std::memcpy(slot.word.data(), word.data(), word.size());
  for (size_t i = 0; i < tokens.size(); ++i) {
    slot.ids[i] = tokens[i].id;
    slot.ends[i] = static_cast<uint8_t>(tokens[i].end - offset);
  }
}

}  // namespace tessera::server
