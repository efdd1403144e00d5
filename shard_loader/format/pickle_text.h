// The escaped strings of pickle protocol 0.
#ifndef TESSERA_SHARD_LOADER_FORMAT_PICKLE_TEXT_H_
#define TESSERA_SHARD_LOADER_FORMAT_PICKLE_TEXT_H_

#include <string>
#include <string_view>

namespace tessera::shard_loader {

// Opcode STRING: a Python 2 str literal in single or double quotes. False: a broken literal.
bool UnescapeString(std::string_view literal, std::string* out);

// Opcode UNICODE: raw-unicode-escape, bytes above 127 being Latin-1; `out` is UTF-8. False: an
// escape that is cut off or no code point.
bool UnescapeUnicode(std::string_view line, std::string* out);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_FORMAT_PICKLE_TEXT_H_
