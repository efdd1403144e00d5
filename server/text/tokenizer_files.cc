#include "server/text/tokenizer_files.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/text/other_sources.h"
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

// Lines of base64 and a number; a SentencePiece model is a protobuf message.
bool LooksLikeTiktoken(std::string_view bytes) {
  const size_t end = std::min(bytes.find('\n'), bytes.size());
  const size_t space = bytes.substr(0, end).find(' ');
  if (space == std::string_view::npos || space == 0 || space + 1 >= end) return false;
  return std::all_of(bytes.begin() + static_cast<ptrdiff_t>(space) + 1,
                     bytes.begin() + static_cast<ptrdiff_t>(end),
                     [](char c) { return (c >= '0' && c <= '9') || c == '\r'; });
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> Named(
    absl::StatusOr<std::unique_ptr<const Tokenizer>> tokenizer, const std::filesystem::path& path) {
  if (!tokenizer.ok()) return Annotate(tokenizer.status(), path.string());
  return tokenizer;
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
  SourceContext context;
  ASSIGN_OR_RETURN(context.names, ReadSpecialTokens(model_dir));
  std::error_code error;
  const auto exists = [&](const std::filesystem::path& path) {
    return std::filesystem::exists(path, error);
  };
  if (exists(model_dir / "tokenizer.json")) {
    return LoadTokenizerJson(model_dir / "tokenizer.json", std::move(context.names));
  }
  if (const auto text = ReadTextFile(model_dir / "tokenizer_config.json"); text.ok()) {
    ASSIGN_OR_RETURN(context.config, ParseJson(*text, "tokenizer_config.json"));
  }
  if (exists(model_dir / "tokenizer.model")) {
    const std::filesystem::path path = model_dir / "tokenizer.model";
    ASSIGN_OR_RETURN(const std::string bytes, ReadTextFile(path));
    return Named(LooksLikeTiktoken(bytes) ? FromTiktoken(bytes, false, context)
                                          : FromSentencePiece(bytes, context),
                 path);
  }
  if (exists(model_dir / "vocab.json") && exists(model_dir / "merges.txt")) {
    ASSIGN_OR_RETURN(const std::string vocab, ReadTextFile(model_dir / "vocab.json"));
    ASSIGN_OR_RETURN(const std::string merges, ReadTextFile(model_dir / "merges.txt"));
    return Named(FromVocabAndMerges(vocab, merges, context), model_dir / "vocab.json");
  }
  for (const auto& entry : std::filesystem::directory_iterator(model_dir, error)) {
    if (entry.path().extension() != ".tiktoken") continue;
    ASSIGN_OR_RETURN(const std::string bytes, ReadTextFile(entry.path()));
    const bool qwen = entry.path().stem().string().find("qwen") != std::string::npos;
    return Named(FromTiktoken(bytes, qwen, context), entry.path());
  }
  return absl::NotFoundError(absl::StrCat(
      model_dir.string(),
      ": no tokenizer: looked for tokenizer.json, tokenizer.model, vocab.json with merges.txt, and "
      "*.tiktoken"));
}

}  // namespace tessera::server
