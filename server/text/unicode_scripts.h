// Writing systems, as the UnicodeScripts pre-tokenizer tells them apart.
#ifndef TESSERA_SERVER_TEXT_UNICODE_SCRIPTS_H_
#define TESSERA_SERVER_TEXT_UNICODE_SCRIPTS_H_

#include <cstdint>

namespace tessera::server {

// A script's number; the numbers have no meaning of their own.
using ScriptId = uint8_t;
inline constexpr ScriptId kAnyScript = 0;  // fits every neighbour: space, characters of no script

// The script of c, with Hiragana, Katakana and U+30FC as Han, as SentencePiece has them.
ScriptId PreTokenizerScript(char32_t c);

}  // namespace tessera::server

#endif  // TESSERA_SERVER_TEXT_UNICODE_SCRIPTS_H_
