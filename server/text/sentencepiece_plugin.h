// What the SentencePiece plugin gives to its loader. The plugin stands apart because Debian's
// libsentencepiece exports a protobuf of its own: in one process with the real one, whichever is
// linked first serves both, and the other's owner ends the process. Loaded with RTLD_DEEPBIND each
// keeps its own. Without that, too: the library's header defines names of Abseil's.
#ifndef TESSERA_SERVER_TEXT_SENTENCEPIECE_PLUGIN_H_
#define TESSERA_SERVER_TEXT_SENTENCEPIECE_PLUGIN_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::server {

// A SentencePiece model. Immutable after Load; thread-safe then.
class SentencePieceModel {
 public:
  struct Piece {
    uint32_t id;
    size_t begin, end;  // bytes of the text
  };
  // How many pieces there are, and the ids of the four special ones; below 0: the model has none.
  struct Facts {
    int size = 0;
    int bos_id = -1, eos_id = -1, unk_id = -1, pad_id = -1;
  };
  enum class Kind { kNormal, kControl, kUnknown, kByte };

  virtual ~SentencePieceModel() = default;
  // Empty, or what is wrong with the model.
  virtual std::string Load(std::string_view model) = 0;
  virtual Facts facts() const = 0;
  virtual const std::string& Text(int id) const = 0;
  virtual Kind KindOf(int id) const = 0;
  virtual std::vector<Piece> Encode(std::string_view text) const = 0;
};

}  // namespace tessera::server

// The only symbol of the plugin: a new model that has not been loaded, owned by the caller.
#define TESSERA_SENTENCEPIECE_PLUGIN_ENTRY "tessera_new_sentencepiece_model"
using TesseraNewSentencePieceModel = tessera::server::SentencePieceModel* (*)();

#endif  // TESSERA_SERVER_TEXT_SENTENCEPIECE_PLUGIN_H_
