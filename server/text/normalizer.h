// The normalizers of tokenizer.json: text to text before it is cut.
#ifndef TESSERA_SERVER_TEXT_NORMALIZER_H_
#define TESSERA_SERVER_TEXT_NORMALIZER_H_

#include <memory>

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "server/text/aligned_text.h"

namespace tessera::server {

// Immutable; thread-safe.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  // Writes the normal form of `in` to `*out` and returns true, or returns false where it is `in`
  // itself. `keep_alignment`: out's alignment is filled.
  virtual absl::StatusOr<bool> Apply(const TextView& in, bool keep_alignment,
                                     AlignedText* out) const = 0;
};

// Null gives nullptr. UNIMPLEMENTED for an unknown type, INVALID_ARGUMENT for a malformed one.
absl::StatusOr<std::unique_ptr<Normalizer>> MakeNormalizer(const nlohmann::json& spec);

}  // namespace tessera::server

#endif  // TESSERA_SERVER_TEXT_NORMALIZER_H_
