// A cache of tokenized words. Most text is made of few words.
#ifndef TESSERA_SERVER_TEXT_WORD_CACHE_H_
#define TESSERA_SERVER_TEXT_WORD_CACHE_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/types/span.h"
#include "server/text/model.h"

namespace tessera::server {

// Direct-mapped: a word lies in one slot or nowhere, a newer word takes the slot. One per thread,
// so that it needs no lock; about a megabyte. Owned by its thread.
class WordCache {
 public:
  static constexpr size_t kLongestWord = 31;
  static constexpr size_t kMostTokens = 10;

  // The calling thread's cache, emptied if it served another model before.
  static WordCache& OfThread(uint64_t model_instance);

  // Appends the tokens of `word`, moved by `offset`, and returns true, or returns false.
  bool Find(std::string_view word, uint32_t offset, std::vector<WordToken>* out) const;
  // Tokens that do not lie side by side from `offset` on, or are too many, are not kept.
  void Insert(std::string_view word, uint32_t offset, absl::Span<const WordToken> tokens);

 private:
  static constexpr size_t kSlots = 16384;
  struct Slot {
    uint8_t length = 0;
    uint8_t count = 0;
    std::array<uint8_t, kMostTokens> ends;  // of the tokens in the word
    std::array<uint32_t, kMostTokens> ids;
    std::array<char, kLongestWord> word;
  };
  static size_t IndexOf(std::string_view word);

  uint64_t model_instance_ = 0;
  std::unique_ptr<std::array<Slot, kSlots>> slots_;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_TEXT_WORD_CACHE_H_
