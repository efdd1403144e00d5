// A tokenizer made of the parts that tokenizer.json names: added tokens, normalizer, pre-tokenizer,
// model, post-processor, decoder.
#ifndef TESSERA_SERVER_TEXT_PIPELINE_TOKENIZER_H_
#define TESSERA_SERVER_TEXT_PIPELINE_TOKENIZER_H_

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "server/text/added_tokens.h"
#include "server/text/model.h"
#include "server/text/normalizer.h"
#include "server/text/post_processor.h"
#include "server/text/pre_tokenizer.h"
#include "server/text/token_decoder.h"
#include "server/text/tokenizer.h"

namespace tessera::server {

class PipelineTokenizer : public Tokenizer {
 public:
  struct Parts {
    std::unique_ptr<Normalizer> normalizer;  // may be nullptr
    PreTokenizerPlan pre_tokenizer;
    std::unique_ptr<Model> model;
    bool raw_bytes = false;  // the model takes plain bytes in the place of their printable form
    PostProcessor post_processor;
    DecodePlan decoder;
    std::vector<AddedToken> added;  // ids are given as the model has them, or behind its own
  };
  static absl::StatusOr<std::unique_ptr<PipelineTokenizer>> Create(Parts parts);
  static absl::StatusOr<std::unique_ptr<PipelineTokenizer>> FromJson(const nlohmann::json& spec);

  // Before the tokenizer is shared. Tokens that are named count as control tokens.
  void NameSpecialTokens(SpecialTokens tokens);
  // Before the tokenizer is shared: tokens that go around every text, in the place of the
  // post-processor's.
  void SurroundWith(std::optional<uint32_t> before, std::optional<uint32_t> after);

  std::string TokenBytes(uint32_t id) const override { return decoder_.Bytes(id); }
  std::string TokenText(uint32_t id) const override;
  std::optional<uint32_t> TokenId(std::string_view piece) const override;
  bool IsSpecial(uint32_t id) const override { return decoder_.IsSpecial(id); }
  uint32_t size() const override { return decoder_.size(); }
  const TokenDecoder& decoder() const override { return decoder_; }

 protected:
  absl::StatusOr<EncodedText> EncodeText(const EncodeRequest& request) const override;

 private:
  class Run;

  explicit PipelineTokenizer(Parts parts);
  absl::Status AddTokens(const std::vector<AddedToken>& tokens);
  void FillDecoder(const std::vector<std::string>& normalized);

  std::unique_ptr<Normalizer> normalizer_;
  std::unique_ptr<PreTokenizer> splitter_;  // nullptr: a text is one word
  bool always_align_;                       // a part of the pipeline asks for alignments
  std::unique_ptr<Model> model_;
  PostProcessor post_processor_;
  AddedTokens added_;
  TokenDecoder decoder_;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_TEXT_PIPELINE_TOKENIZER_H_
