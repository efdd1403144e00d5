#include "server/text/model.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/text/bpe.h"
#include "server/text/byte_level.h"
#include "server/text/json_fields.h"
#include "server/text/utf8.h"
#include "shard_loader/status_macros.h"

namespace tessera::server {
namespace {

// "left right", or ["left", "right"].
absl::StatusOr<BpeModel::MergeRule> ReadMerge(const nlohmann::json& item, size_t index) {
  if (item.is_array() && item.size() == 2 && item[0].is_string() && item[1].is_string()) {
    return BpeModel::MergeRule{item[0].get<std::string>(), item[1].get<std::string>()};
  }
  if (item.is_string()) {
    const auto& text = item.get_ref<const std::string&>();
    const size_t space = text.find(' ');
    if (space != std::string::npos && text.find(' ', space + 1) == std::string::npos) {
      return BpeModel::MergeRule{text.substr(0, space), text.substr(space + 1)};
    }
  }
  return absl::InvalidArgumentError(absl::StrCat("tokenizer.json: merges: entry ", index,
                                                 " must be two tokens with a space between them"));
}

absl::StatusOr<std::vector<BpeModel::MergeRule>> ReadMerges(const nlohmann::json& spec) {
  ASSIGN_OR_RETURN(const nlohmann::json* merges, ArrayField(spec, "merges"));
  std::vector<BpeModel::MergeRule> rules;
  rules.reserve(merges->size());
  for (const nlohmann::json& item : *merges) {
    if (item.is_string() && item.get_ref<const std::string&>().rfind("#version", 0) == 0) continue;
    ASSIGN_OR_RETURN(auto rule, ReadMerge(item, rules.size()));
    rules.push_back(std::move(rule));
  }
  return rules;
}

absl::StatusOr<std::unique_ptr<Model>> MakeBpe(const nlohmann::json& spec, bool raw_bytes) {
  const auto vocab = spec.find("vocab");
  if (vocab == spec.end()) {
    return absl::InvalidArgumentError("tokenizer.json: the model has no vocab");
  }
  absl::StatusOr<TokenTable> tokens = TokenTable::FromObject(*vocab);
  if (!tokens.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("tokenizer.json: ", tokens.status().message()));
  }
  ASSIGN_OR_RETURN(const auto rules, ReadMerges(spec));
  BpeOptions options;
  options.raw_bytes = raw_bytes;
  if (spec.contains("unk_token") && !spec["unk_token"].is_null()) {
    ASSIGN_OR_RETURN(options.unk_token, StringField(spec, "unk_token"));
  }
  ASSIGN_OR_RETURN(options.continuing_subword_prefix,
                   StringField(spec, "continuing_subword_prefix", ""));
  ASSIGN_OR_RETURN(options.end_of_word_suffix, StringField(spec, "end_of_word_suffix", ""));
  ASSIGN_OR_RETURN(options.fuse_unk, BoolField(spec, "fuse_unk", false));
  ASSIGN_OR_RETURN(options.byte_fallback, BoolField(spec, "byte_fallback", false));
  ASSIGN_OR_RETURN(options.ignore_merges, BoolField(spec, "ignore_merges", false));
  ASSIGN_OR_RETURN(auto model, BpeModel::Create(*std::move(tokens), rules, std::move(options)));
  return model;
}

// The type of a model that does not name it, as in files of the format's first years.
std::string GuessType(const nlohmann::json& spec) {
  if (spec.contains("merges")) return "BPE";
  if (spec.contains("vocab") && spec["vocab"].is_array()) return "Unigram";
  if (spec.contains("max_input_chars_per_word")) return "WordPiece";
  return "WordLevel";
}

bool EmptyField(const nlohmann::json& spec, const char* name) {
  const auto it = spec.find(name);
  return it == spec.end() || it->is_null() || *it == "";
}

}  // namespace

bool BpeTakesRawBytes(const nlohmann::json& spec) {
  if (!spec.is_object() || !spec.contains("vocab") || !spec["vocab"].is_object()) return false;
  const bool bpe = spec.contains("type") ? spec["type"] == "BPE" : GuessType(spec) == "BPE";
  if (!bpe || !EmptyField(spec, "continuing_subword_prefix") ||
      !EmptyField(spec, "end_of_word_suffix")) {
    return false;
  }
  for (int byte = 0; byte < 256; ++byte) {
    if (!spec["vocab"].contains(ToUtf8(ByteToChar(static_cast<unsigned char>(byte))))) return false;
  }
  return true;
}

absl::StatusOr<std::unique_ptr<Model>> MakeModel(const nlohmann::json& spec, bool raw_bytes) {
  if (!spec.is_object()) {
    return absl::InvalidArgumentError("tokenizer.json: 'model' must be an object");
  }
  std::string type = GuessType(spec);
  if (spec.contains("type")) {
    ASSIGN_OR_RETURN(type, TypeOf(spec, "model"));
  }
  if (type == "BPE") return MakeBpe(spec, raw_bytes);
  if (type == "Unigram") return MakeUnigram(spec);
  if (type == "WordPiece") return MakeWordPiece(spec);
  if (type == "WordLevel") return MakeWordLevel(spec);
  return absl::UnimplementedError(
      absl::StrCat("tokenizer.json: the model '", type, "' is not known"));
}

}  // namespace tessera::server
