#include "server/text/token_decoder.h"

#include "server/text/byte_level.h"
#include "server/text/utf8.h"

namespace tessera::server {

void TokenDecoder::Add(uint32_t id, std::string_view token, bool special) {
  if (id >= entries_.size()) entries_.resize(id + 1);
  std::string piece(token);
  for (const TokenRewrite& rewrite : plan_.rewrites) piece = rewrite(piece);
  entries_[id] = {std::move(piece), true, special};
}

std::string TokenDecoder::Bytes(uint32_t id) const {
  if (!Has(id)) return "";
  const std::string& piece = entries_[id].piece;
  if (plan_.raw_bytes) return piece;
  const int byte = ByteFallbackValue(piece);
  if (byte >= 0) return std::string(1, static_cast<char>(byte));
  // SentencePiece's space, where no rewrite has dealt with it.
  static constexpr std::string_view kMarker = "\xE2\x96\x81";
  std::string out;
  for (size_t pos = 0; pos < piece.size();) {
    if (piece.compare(pos, kMarker.size(), kMarker) == 0) {
      out += ' ';
      pos += kMarker.size();
    } else {
      out += piece[pos++];
    }
  }
  return out;
}

DecodeStream::DecodeStream(const TokenDecoder& decoder) : decoder_(decoder) {
  if (decoder.joins_bytes()) return;
  for (const DecodeStageFactory& make : decoder.plan().stages) stages_.push_back(make());
}

void DecodeStream::PushInto(size_t stage, const Fragment& fragment, std::string* out) {
  if (stage == stages_.size()) {
    out->append(fragment.text);
    return;
  }
  stages_[stage]->Push(fragment, [&](const Fragment& next) { PushInto(stage + 1, next, out); });
}

void DecodeStream::Push(uint32_t id, bool skip_special, std::string* out) {
  if (!decoder_.Has(id) || (skip_special && decoder_.IsSpecial(id))) return;
  const std::string_view piece = decoder_.Piece(id);
  if (!decoder_.joins_bytes()) return PushInto(0, {piece, true, true}, out);
  if (held_.empty()) {
    const size_t rest = AppendLossy(piece, out);
    held_ = std::string(piece.substr(piece.size() - rest));
  } else {
    held_ += piece;
    const size_t rest = AppendLossy(held_, out);
    held_.erase(0, held_.size() - rest);
  }
}

void DecodeStream::Finish(std::string* out) {
  if (!held_.empty()) out->append(kReplacementCharacter);
  held_.clear();
  for (size_t i = 0; i < stages_.size(); ++i) {
    stages_[i]->Finish([&](const Fragment& next) { PushInto(i + 1, next, out); });
  }
}

}  // namespace tessera::server
