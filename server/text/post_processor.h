// The post-processors of tokenizer.json: the special tokens around a text.
#ifndef TESSERA_SERVER_TEXT_POST_PROCESSOR_H_
#define TESSERA_SERVER_TEXT_POST_PROCESSOR_H_

#include <cstdint>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"

namespace tessera::server {

// What a single text becomes: special tokens, the text's own, special tokens. (Cutting white space
// off the offsets, which some post-processors do as well, is left out: the pieces of a text are to
// cover it.) A value.
struct PostProcessor {
  std::vector<uint32_t> before, after;
};

// Null gives an empty one. UNIMPLEMENTED for an unknown type, INVALID_ARGUMENT for a malformed one.
absl::StatusOr<PostProcessor> MakePostProcessor(const nlohmann::json& spec);

}  // namespace tessera::server

#endif  // TESSERA_SERVER_TEXT_POST_PROCESSOR_H_
