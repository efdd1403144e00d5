#include "server/text/tokenizer_files.h"

#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/text/pipeline_tokenizer.h"
#include "shard_loader/status_macros.h"

namespace tessera::server {
namespace {

// A token is written as a string or as an object with a "content".
std::string TokenName(const nlohmann::json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object() && value.contains("content") && value["content"].is_string()) {
    return value["content"].get<std::string>();
  }
  return "";
}

void ReadNames(const nlohmann::json& config, SpecialTokens* tokens) {
  const std::pair<const char*, std::string*> names[] = {
      {"bos_token", &tokens->bos_token},  {"eos_token", &tokens->eos_token},
      {"unk_token", &tokens->unk_token},  {"pad_token", &tokens->pad_token},
      {"sep_token", &tokens->sep_token},  {"cls_token", &tokens->cls_token},
      {"mask_token", &tokens->mask_token}};
  for (const auto& [name, token] : names) {
    const auto it = config.find(name);
    if (it != config.end()) *token = TokenName(*it);
  }
  const auto more = config.find("additional_special_tokens");
  if (more == config.end() || !more->is_array()) return;
  tokens->additional.clear();
  for (const nlohmann::json& item : *more) {
    if (std::string name = TokenName(item); !name.empty()) {
      tokens->additional.push_back(std::move(name));
    }
  }
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> LoadTokenizerJson(
    const std::filesystem::path& path, SpecialTokens names) {
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path));
  ASSIGN_OR_RETURN(const nlohmann::json spec, ParseJson(text, path.string()));
  auto tokenizer = PipelineTokenizer::FromJson(spec);
  if (!tokenizer.ok()) return Annotate(tokenizer.status(), path.string());
  (*tokenizer)->NameSpecialTokens(std::move(names));
  return *std::move(tokenizer);
}

}  // namespace

absl::Status Annotate(const absl::Status& status, std::string_view context) {
  return absl::Status(status.code(), absl::StrCat(absl::string_view(context.data(), context.size()),
                                                  ": ", status.message()));
}

absl::StatusOr<nlohmann::json> ParseJson(std::string_view text, std::string_view name) {
  nlohmann::json parsed;
  try {
    parsed = nlohmann::json::parse(text.begin(), text.end());
  } catch (const nlohmann::json::exception& error) {
    return absl::InvalidArgumentError(absl::StrCat(absl::string_view(name.data(), name.size()),
                                                   ": not valid JSON: ", error.what()));
  }
  return parsed;
}

absl::StatusOr<std::string> ReadTextFile(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {
    return absl::NotFoundError(absl::StrCat(path.string(), ": no such file"));
  }
  std::ifstream file(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file.good() && !file.eof()) {
    return absl::DataLossError(absl::StrCat(path.string(), ": cannot be read to its end"));
  }
  return text;
}

absl::StatusOr<SpecialTokens> ReadSpecialTokens(const std::filesystem::path& model_dir) {
  SpecialTokens tokens;
  for (const char* name : {"special_tokens_map.json", "tokenizer_config.json"}) {
    const absl::StatusOr<std::string> text = ReadTextFile(model_dir / name);
    if (absl::IsNotFound(text.status())) continue;
    RETURN_IF_ERROR(text.status());
    ASSIGN_OR_RETURN(const nlohmann::json config, ParseJson(*text, (model_dir / name).string()));
    if (config.is_object()) ReadNames(config, &tokens);
  }
  return tokens;
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> LoadTokenizer(
    const std::filesystem::path& model_dir) {
  ASSIGN_OR_RETURN(SpecialTokens names, ReadSpecialTokens(model_dir));
  std::error_code error;
  if (std::filesystem::exists(model_dir / "tokenizer.json", error)) {
    return LoadTokenizerJson(model_dir / "tokenizer.json", std::move(names));
  }
  return absl::NotFoundError(absl::StrCat(model_dir.string(), ": no tokenizer.json"));
}

}  // namespace tessera::server
