#include "shard_loader/format/gguf_vocabulary.h"

#include "absl/strings/str_cat.h"

namespace tessera::shard_loader {
namespace {

std::string TextOf(const GgufFile& file, std::string_view key) {
  const GgufValue* value = file.Find(key);
  return value == nullptr ? "" : std::string(value->Text().value_or(""));
}

std::optional<uint32_t> IdOf(const GgufFile& file, std::string_view key, size_t num_tokens) {
  const GgufValue* value = file.Find(key);
  const std::optional<int64_t> id = value == nullptr ? std::nullopt : value->Integer();
  if (!id || *id < 0 || *id >= static_cast<int64_t>(num_tokens)) return std::nullopt;
  return static_cast<uint32_t>(*id);
}

std::optional<bool> BoolOf(const GgufFile& file, std::string_view key) {
  const GgufValue* value = file.Find(key);
  return value == nullptr ? std::nullopt : value->Bool();
}

std::vector<std::string> TextsOf(const GgufFile& file, std::string_view key) {
  const GgufValue* value = file.Find(key);
  std::vector<std::string> out;
  if (value == nullptr) return out;
  for (const std::string_view text : value->Texts()) out.emplace_back(text);
  return out;
}

}  // namespace

absl::StatusOr<GgufVocabulary> ReadVocabulary(const GgufFile& file, const std::string& name) {
  GgufVocabulary out;
  out.model = TextOf(file, "tokenizer.ggml.model");
  out.tokens = TextsOf(file, "tokenizer.ggml.tokens");
  if (out.model.empty() || out.tokens.empty()) {
    return absl::NotFoundError(
        absl::StrCat("shard_loader: ", name, ": the GGUF file carries no tokenizer"));
  }
  const size_t count = out.tokens.size();
  out.pre_tokenizer = TextOf(file, "tokenizer.ggml.pre");
  out.merges = TextsOf(file, "tokenizer.ggml.merges");
  if (const GgufValue* scores = file.Find("tokenizer.ggml.scores"); scores != nullptr) {
    for (const double score : scores->Numbers()) out.scores.push_back(static_cast<float>(score));
  }
  if (const GgufValue* kinds = file.Find("tokenizer.ggml.token_type"); kinds != nullptr) {
    for (const double kind : kinds->Numbers()) {
      const bool known = kind >= 1 && kind <= 6;
      out.kinds.push_back(known ? static_cast<GgufVocabulary::Kind>(static_cast<int>(kind))
                                : GgufVocabulary::Kind::kNormal);
    }
  }
  const bool fits = (out.scores.empty() || out.scores.size() == count) &&
                    (out.kinds.empty() || out.kinds.size() == count);
  if (!fits) {
    return absl::DataLossError(absl::StrCat("shard_loader: ", name, ": the tokenizer has ", count,
                                            " tokens, but ", out.scores.size(), " scores and ",
                                            out.kinds.size(), " types; the file is corrupt"));
  }
  out.bos_id = IdOf(file, "tokenizer.ggml.bos_token_id", count);
  out.eos_id = IdOf(file, "tokenizer.ggml.eos_token_id", count);
  out.eot_id = IdOf(file, "tokenizer.ggml.eot_token_id", count);
  out.unk_id = IdOf(file, "tokenizer.ggml.unknown_token_id", count);
  out.pad_id = IdOf(file, "tokenizer.ggml.padding_token_id", count);
  out.add_bos = BoolOf(file, "tokenizer.ggml.add_bos_token");
  out.add_eos = BoolOf(file, "tokenizer.ggml.add_eos_token");
  out.add_space_prefix = BoolOf(file, "tokenizer.ggml.add_space_prefix");
  out.chat_template = TextOf(file, "tokenizer.chat_template");
  return out;
}

}  // namespace tessera::shard_loader
