#include "server/text/sentencepiece_plugin.h"

#include <sentencepiece_processor.h>

namespace tessera::server {
namespace {

class LibraryModel : public SentencePieceModel {
 public:
  std::string Load(std::string_view model) override {
    const auto status = library_.LoadFromSerializedProto(model);
    if (status.ok()) return "";
    const std::string message = status.error_message();
    return message.empty() ? "not a SentencePiece model" : message;
  }

  Facts facts() const override {
    return {library_.GetPieceSize(), library_.bos_id(), library_.eos_id(), library_.unk_id(),
            library_.pad_id()};
  }
  const std::string& Text(int id) const override { return library_.IdToPiece(id); }
  Kind KindOf(int id) const override {
    return library_.IsControl(id)   ? Kind::kControl
           : library_.IsUnknown(id) ? Kind::kUnknown
           : library_.IsByte(id)    ? Kind::kByte
                                    : Kind::kNormal;
  }

  std::vector<Piece> Encode(std::string_view text) const override {
    const auto encoded = library_.EncodeAsImmutableProto(text);
    std::vector<Piece> pieces;
    pieces.reserve(encoded.pieces_size());
    for (size_t i = 0; i < encoded.pieces_size(); ++i) {
      const auto piece = encoded.pieces(static_cast<int>(i));
      pieces.push_back({piece.id(), piece.begin(), piece.end()});
    }
    return pieces;
  }

 private:
  sentencepiece::SentencePieceProcessor library_;
};

}  // namespace
}  // namespace tessera::server

extern "C" __attribute__((visibility("default"))) tessera::server::SentencePieceModel*
tessera_new_sentencepiece_model() {
  return new tessera::server::LibraryModel();  // owned by the caller
}
