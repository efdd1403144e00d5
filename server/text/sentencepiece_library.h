// The SentencePiece library behind an interface of our own: its header defines names of Abseil's
// and cannot stand beside Abseil's.
#ifndef TESSERA_SERVER_TEXT_SENTENCEPIECE_LIBRARY_H_
#define TESSERA_SERVER_TEXT_SENTENCEPIECE_LIBRARY_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::server {

// Immutable; thread-safe.
class SentencePieceLibrary {
 public:
  struct Piece {
    uint32_t id;
    size_t begin, end;  // bytes of the text
  };

  SentencePieceLibrary();
  ~SentencePieceLibrary();

  // Empty, or what is wrong with the model.
  std::string Load(std::string_view model);

  int size() const;
  const std::string& Text(int id) const;
  bool IsControl(int id) const;
  bool IsUnknown(int id) const;
  bool IsByte(int id) const;
  // Below 0: the model has none.
  int bos_id() const;
  int eos_id() const;
  int unk_id() const;
  int pad_id() const;

  std::vector<Piece> Encode(std::string_view text) const;

 private:
  struct Processor;
  std::unique_ptr<Processor> processor_;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_TEXT_SENTENCEPIECE_LIBRARY_H_
