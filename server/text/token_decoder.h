// Ids to text: what is known of each token in advance, and the streams that join them.
#ifndef TESSERA_SERVER_TEXT_TOKEN_DECODER_H_
#define TESSERA_SERVER_TEXT_TOKEN_DECODER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/text/decode_stage.h"

namespace tessera::server {

// Immutable once filled; thread-safe then.
class TokenDecoder {
 public:
  explicit TokenDecoder(DecodePlan plan) : plan_(std::move(plan)) {}

  // Ids that are never added give no text.
  void Add(uint32_t id, std::string_view token, bool special);

  // The bytes that a token stands for by itself.
  std::string Bytes(uint32_t id) const;
  bool Has(uint32_t id) const { return id < entries_.size() && entries_[id].known; }
  bool IsSpecial(uint32_t id) const { return id < entries_.size() && entries_[id].special; }
  // The token as the first stage takes it.
  std::string_view Piece(uint32_t id) const { return entries_[id].piece; }
  uint32_t size() const { return static_cast<uint32_t>(entries_.size()); }

  // Whether tokens are bytes that only need to be joined.
  bool joins_bytes() const { return plan_.raw_bytes && plan_.stages.size() == 1; }
  const DecodePlan& plan() const { return plan_; }

 private:
  struct Entry {
    std::string piece;
    bool known = false;
    bool special = false;
  };
  DecodePlan plan_;
  std::vector<Entry> entries_;
};

// One text being decoded. Not thread-safe; borrows the decoder.
class DecodeStream {
 public:
  explicit DecodeStream(const TokenDecoder& decoder);
  // Appends what is certain now to `*out`: whole characters.
  void Push(uint32_t id, bool skip_special, std::string* out);
  void Finish(std::string* out);

 private:
  void PushInto(size_t stage, const Fragment& fragment, std::string* out);

  const TokenDecoder& decoder_;
  std::string held_;  // joins_bytes: the beginning of a character
  std::vector<std::unique_ptr<DecodeStage>> stages_;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_TEXT_TOKEN_DECODER_H_
