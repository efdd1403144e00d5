// The SentencePiece library behind an interface of our own, loaded when a model needs it.
#ifndef TESSERA_SERVER_TEXT_SENTENCEPIECE_LIBRARY_H_
#define TESSERA_SERVER_TEXT_SENTENCEPIECE_LIBRARY_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/text/sentencepiece_plugin.h"

namespace tessera::server {

// Immutable after Load; thread-safe then.
class SentencePieceLibrary {
 public:
  using Piece = SentencePieceModel::Piece;

  // Empty, or what is wrong: with the model, or with the plugin that reads it.
  std::string Load(std::string_view model);

  int size() const { return facts_.size; }
  const std::string& Text(int id) const { return model_->Text(id); }
  bool IsControl(int id) const { return Is(id, SentencePieceModel::Kind::kControl); }
  bool IsUnknown(int id) const { return Is(id, SentencePieceModel::Kind::kUnknown); }
  bool IsByte(int id) const { return Is(id, SentencePieceModel::Kind::kByte); }
  // Below 0: the model has none.
  int bos_id() const { return facts_.bos_id; }
  int eos_id() const { return facts_.eos_id; }
  int unk_id() const { return facts_.unk_id; }
  int pad_id() const { return facts_.pad_id; }

  std::vector<Piece> Encode(std::string_view text) const { return model_->Encode(text); }

 private:
  bool Is(int id, SentencePieceModel::Kind kind) const { return model_->KindOf(id) == kind; }

  std::unique_ptr<SentencePieceModel> model_;
  SentencePieceModel::Facts facts_;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_TEXT_SENTENCEPIECE_LIBRARY_H_
