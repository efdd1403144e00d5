#include "server/text/post_processor.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "server/text/json_fields.h"
#include "server/text/token_table.h"
#include "shard_loader/status_macros.h"

namespace tessera::server {
namespace {

absl::StatusOr<uint32_t> ReadId(const nlohmann::json& value) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > kMaxTokenId) {
    return absl::InvalidArgumentError(
        absl::StrCat("tokenizer.json: a post-processor has the token id ", value.dump()));
  }
  return value.get<uint32_t>();
}

// "cls": ["[CLS]", 101].
absl::StatusOr<uint32_t> PairField(const nlohmann::json& spec, const char* name) {
  ASSIGN_OR_RETURN(const nlohmann::json* pair, ArrayField(spec, name));
  if (pair->size() != 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("tokenizer.json: post-processor: '", name, "' must be a token and its id"));
  }
  return ReadId((*pair)[1]);
}

// The ids that a special token of a template stands for.
absl::StatusOr<std::vector<uint32_t>> TemplateIds(const nlohmann::json& spec,
                                                  const std::string& name) {
  const auto known = spec.find("special_tokens");
  if (known == spec.end() || !known->is_object() || !known->contains(name) ||
      !(*known)[name].is_object()) {
    return absl::InvalidArgumentError(absl::StrCat("tokenizer.json: TemplateProcessing: '", name,
                                                   "' is not among its special_tokens"));
  }
  ASSIGN_OR_RETURN(const nlohmann::json* list, ArrayField((*known)[name], "ids"));
  std::vector<uint32_t> ids;
  for (const nlohmann::json& id : *list) {
    ASSIGN_OR_RETURN(ids.emplace_back(), ReadId(id));
  }
  return ids;
}

absl::StatusOr<PostProcessor> ReadTemplate(const nlohmann::json& spec) {
  ASSIGN_OR_RETURN(const nlohmann::json* pieces, ArrayField(spec, "single"));
  PostProcessor result;
  int sequences = 0;
  for (const nlohmann::json& piece : *pieces) {
    if (piece.is_object() && piece.contains("Sequence") && piece["Sequence"].is_object()) {
      sequences += piece["Sequence"].contains("id") && piece["Sequence"]["id"] == "A" ? 1 : 2;
    } else if (piece.is_object() && piece.contains("SpecialToken") &&
               piece["SpecialToken"].is_object()) {
      ASSIGN_OR_RETURN(const std::string name, StringField(piece["SpecialToken"], "id"));
      ASSIGN_OR_RETURN(const std::vector<uint32_t> ids, TemplateIds(spec, name));
      std::vector<uint32_t>& side = sequences == 0 ? result.before : result.after;
      side.insert(side.end(), ids.begin(), ids.end());
    } else {
      return absl::InvalidArgumentError(
          "tokenizer.json: TemplateProcessing: a piece is neither Sequence nor SpecialToken");
    }
  }
  if (sequences != 1) {
    return absl::InvalidArgumentError(
        "tokenizer.json: TemplateProcessing: 'single' must hold the sequence A exactly once");
  }
  return result;
}

absl::StatusOr<PostProcessor> Make(const nlohmann::json& spec, int depth) {
  ASSIGN_OR_RETURN(const std::string type, TypeOf(spec, "post-processor"));
  PostProcessor result;
  if (type == "ByteLevel") return result;
  if (type == "TemplateProcessing") return ReadTemplate(spec);
  if (type == "BertProcessing" || type == "RobertaProcessing") {
    ASSIGN_OR_RETURN(result.before.emplace_back(), PairField(spec, "cls"));
    ASSIGN_OR_RETURN(result.after.emplace_back(), PairField(spec, "sep"));
    return result;
  }
  if (type != "Sequence") {
    return absl::UnimplementedError(
        absl::StrCat("tokenizer.json: the post-processor '", type, "' is not known"));
  }
  if (depth >= kMaxComponentDepth) {
    return absl::InvalidArgumentError("tokenizer.json: post-processors are nested too deeply");
  }
  ASSIGN_OR_RETURN(const nlohmann::json* list, ArrayField(spec, "processors"));
  for (const nlohmann::json& part : *list) {
    ASSIGN_OR_RETURN(const PostProcessor outer, Make(part, depth + 1));
    result.before.insert(result.before.begin(), outer.before.begin(), outer.before.end());
    result.after.insert(result.after.end(), outer.after.begin(), outer.after.end());
  }
  return result;
}

}  // namespace

absl::StatusOr<PostProcessor> MakePostProcessor(const nlohmann::json& spec) {
  if (spec.is_null()) return PostProcessor();
  return Make(spec, 0);
}

}  // namespace tessera::server
