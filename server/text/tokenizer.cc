#include "server/text/tokenizer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/text/pipeline_tokenizer.h"
#include "server/text/token_decoder.h"
#include "server/text/tokenizer_files.h"
#include "server/text/utf8.h"
#include "shard_loader/status_macros.h"

namespace tessera::server {

absl::StatusOr<std::unique_ptr<const Tokenizer>> Tokenizer::Load(
    const std::filesystem::path& model_dir) {
  return LoadTokenizer(model_dir);
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> Tokenizer::FromJson(
    std::string_view tokenizer_json) {
  ASSIGN_OR_RETURN(const nlohmann::json spec, ParseJson(tokenizer_json, "tokenizer.json"));
  ASSIGN_OR_RETURN(auto tokenizer, PipelineTokenizer::FromJson(spec));
  return tokenizer;
}

absl::StatusOr<Tokenizer::EncodedText> Tokenizer::CheckAndEncode(
    const EncodeRequest& request) const {
  if (request.text.size() > 1u << 30) {
    return absl::InvalidArgumentError(absl::StrCat("the text has ", request.text.size(),
                                                   " bytes; at most 1 GiB can be tokenized"));
  }
  if (const size_t at = FindInvalidUtf8(request.text); at != std::string_view::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("the text is not UTF-8: byte ", at, " does not belong to a character"));
  }
  return EncodeText(request);
}

absl::StatusOr<std::vector<TokenPiece>> Tokenizer::Encode(std::string_view text,
                                                          const EncodeOptions& options) const {
  const ByteRange whole{0, text.size()};
  const auto plain =
      options.parse_special ? absl::Span<const ByteRange>() : absl::MakeConstSpan(&whole, 1);
  ASSIGN_OR_RETURN(const EncodedText encoded,
                   CheckAndEncode({text, options.add_special_tokens, plain, true}));
  std::vector<TokenPiece> pieces;
  pieces.reserve(encoded.ids.size());
  for (size_t i = 0; i < encoded.ids.size(); ++i) {
    pieces.push_back({encoded.ids[i], encoded.ranges[i].begin, encoded.ranges[i].end});
  }
  return pieces;
}

absl::StatusOr<std::vector<uint32_t>> Tokenizer::EncodeIds(std::string_view text,
                                                           const EncodeOptions& options) const {
  const ByteRange whole{0, text.size()};
  const auto plain =
      options.parse_special ? absl::Span<const ByteRange>() : absl::MakeConstSpan(&whole, 1);
  return EncodeGuarded(text, options.add_special_tokens, plain);
}

absl::StatusOr<std::vector<uint32_t>> Tokenizer::EncodeGuarded(
    std::string_view text, bool add_special_tokens, absl::Span<const ByteRange> plain) const {
  ASSIGN_OR_RETURN(EncodedText encoded, CheckAndEncode({text, add_special_tokens, plain, false}));
  return std::move(encoded.ids);
}

std::string Tokenizer::Decode(absl::Span<const uint32_t> ids, bool skip_special) const {
  DecodeStream stream(decoder());
  std::string out;
  out.reserve(ids.size() * 4);
  for (uint32_t id : ids) stream.Push(id, skip_special, &out);
  stream.Finish(&out);
  return out;
}

}  // namespace tessera::server
