// The decoders of tokenizer.json as stages of a stream: tokens go in one by one, text comes out as
// soon as it is certain.
#ifndef TESSERA_SERVER_TEXT_DECODE_STAGE_H_
#define TESSERA_SERVER_TEXT_DECODE_STAGE_H_

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"

namespace tessera::server {

// A part of a token on its way through the stages: whole characters of UTF-8.
struct Fragment {
  std::string_view text;
  bool first;  // the token begins with it
  bool last;   // the token ends with it
};
using FragmentSink = absl::FunctionRef<void(const Fragment&)>;

// A stage of one stream. Not thread-safe.
class DecodeStage {
 public:
  virtual ~DecodeStage() = default;
  virtual void Push(const Fragment& in, FragmentSink out) = 0;
  // No token follows.
  virtual void Finish(FragmentSink) {}
};
using DecodeStageFactory = std::function<std::unique_ptr<DecodeStage>()>;

// A change of whole tokens that does not depend on their neighbours; may be done in advance.
using TokenRewrite = std::function<std::string(std::string_view)>;

// What a decoder specification means, in the order in which it is done.
struct DecodePlan {
  std::vector<TokenRewrite> rewrites;
  // After them tokens are plain bytes, not UTF-8: the first stage is the one that takes them.
  bool raw_bytes = false;
  std::vector<DecodeStageFactory> stages;
};

// Null: tokens with spaces between them. UNIMPLEMENTED for an unknown type, INVALID_ARGUMENT for a
// malformed one.
absl::StatusOr<DecodePlan> MakeDecodePlan(const nlohmann::json& spec);

// Joins tokens of raw bytes into one; what is no UTF-8 becomes U+FFFD.
std::unique_ptr<DecodeStage> MakeRawBytesStage();
// Bytes of "<0xHH>" tokens in a row become text if they are UTF-8, else one U+FFFD each.
std::unique_ptr<DecodeStage> MakeByteFallbackStage();
std::unique_ptr<DecodeStage> MakeFuseStage();
// Takes up to `start` characters `content` off the front of each token, and `stop` off its end.
std::unique_ptr<DecodeStage> MakeStripStage(char32_t content, size_t start, size_t stop);

}  // namespace tessera::server

#endif  // TESSERA_SERVER_TEXT_DECODE_STAGE_H_
