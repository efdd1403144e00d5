// A tokenizer.json from anywhere: refused, or it encodes and decodes without harm.
#include <string_view>

#include "server/text/detokenizer.h"
#include "server/text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tessera::server;  // NOLINT: one function
  const auto tokenizer =
      Tokenizer::FromJson(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!tokenizer.ok()) return 0;
  for (std::string_view text :
       {"Hello, world!  it's\n\n12345 \xE4\xB8\xAD\xE6\x96\x87 e\xCC\x81", "a", ""}) {
    const auto pieces = (*tokenizer)->Encode(text, {});
    if (!pieces.ok()) continue;
    std::vector<uint32_t> ids;
    for (const TokenPiece& piece : *pieces) {
      if (piece.begin > piece.end || piece.end > text.size()) __builtin_trap();
      ids.push_back(piece.id);
    }
    Detokenizer stream(**tokenizer, true);
    std::string streamed;
    for (uint32_t id : ids) streamed += stream.Append(id);
    streamed += stream.Finish();
    if (streamed != (*tokenizer)->Decode(ids, true)) __builtin_trap();
  }
  return 0;
}
