#include "server/text/sentencepiece_library.h"

#include <sentencepiece_processor.h>

namespace tessera::server {

struct SentencePieceLibrary::Processor {
  sentencepiece::SentencePieceProcessor library;
};

SentencePieceLibrary::SentencePieceLibrary() : processor_(std::make_unique<Processor>()) {}
SentencePieceLibrary::~SentencePieceLibrary() = default;

std::string SentencePieceLibrary::Load(std::string_view model) {
  const auto status = processor_->library.LoadFromSerializedProto(model);
  if (status.ok()) return "";
  const std::string message = status.error_message();
  return message.empty() ? "not a SentencePiece model" : message;
}

int SentencePieceLibrary::size() const { return processor_->library.GetPieceSize(); }
const std::string& SentencePieceLibrary::Text(int id) const {
  return processor_->library.IdToPiece(id);
}
bool SentencePieceLibrary::IsControl(int id) const { return processor_->library.IsControl(id); }
bool SentencePieceLibrary::IsUnknown(int id) const { return processor_->library.IsUnknown(id); }
bool SentencePieceLibrary::IsByte(int id) const { return processor_->library.IsByte(id); }
int SentencePieceLibrary::bos_id() const { return processor_->library.bos_id(); }
int SentencePieceLibrary::eos_id() const { return processor_->library.eos_id(); }
int SentencePieceLibrary::unk_id() const { return processor_->library.unk_id(); }
int SentencePieceLibrary::pad_id() const { return processor_->library.pad_id(); }

std::vector<SentencePieceLibrary::Piece> SentencePieceLibrary::Encode(std::string_view text) const {
  const auto encoded = processor_->library.EncodeAsImmutableProto(text);
  std::vector<Piece> pieces;
  pieces.reserve(encoded.pieces_size());
  for (size_t i = 0; i < encoded.pieces_size(); ++i) {
    const auto piece = encoded.pieces(static_cast<int>(i));
    pieces.push_back({piece.id(), piece.begin(), piece.end()});
  }
  return pieces;
}

}  // namespace tessera::server
