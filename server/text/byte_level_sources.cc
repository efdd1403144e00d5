// Byte-level vocabularies from tiktoken ranks, from vocab.json with merges.txt, and handed over.
#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/text/bpe.h"
#include "server/text/byte_level.h"
#include "server/text/other_sources.h"
#include "server/text/pipeline_tokenizer.h"
#include "server/text/tokenizer_files.h"
#include "shard_loader/status_macros.h"

namespace tessera::server {
namespace {

constexpr char kLlama3Pattern[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr char kQwenPattern[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr char kO200kPattern[] =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// Llama 3's control tokens, in the order of their ids (llama3, tokenizer.py).
std::vector<std::string> Llama3ControlTokens() {
  std::vector<std::string> tokens = {"<|begin_of_text|>", "<|end_of_text|>"};
  int reserved = 0;
  const auto reserve = [&](int until) {
    while (reserved < until)
      tokens.push_back(absl::StrCat("<|reserved_special_token_", reserved++, "|>"));
  };
  reserve(4);
  tokens.insert(tokens.end(), {"<|start_header_id|>", "<|end_header_id|>"});
  reserve(5);
  tokens.push_back("<|eot_id|>");
  reserve(251);
  return tokens;
}

AddedToken ControlToken(std::string content, uint32_t id) {
  AddedToken token;
  token.content = std::move(content);
  token.id = id;
  token.normalized = false;
  token.special = true;
  return token;
}

// "added_tokens_decoder": {"505": {"content": ...}} in ascending order of the ids.
std::vector<AddedToken> ConfiguredTokens(const nlohmann::json& config) {
  std::map<uint32_t, AddedToken> tokens;
  const auto it = config.find("added_tokens_decoder");
  if (it == config.end() || !it->is_object()) return {};
  const auto flag = [](const nlohmann::json& item, const char* name) {
    return item.contains(name) && item[name].is_boolean() && item[name].get<bool>();
  };
  for (const auto& [key, item] : it->items()) {
    uint32_t id = 0;
    if (!absl::SimpleAtoi(key, &id) || !item.is_object() || !item.contains("content") ||
        !item["content"].is_string()) {
      continue;
    }
    AddedToken token;
    token.content = item["content"].get<std::string>();
    token.id = id;
    token.single_word = flag(item, "single_word");
    token.lstrip = flag(item, "lstrip");
    token.rstrip = flag(item, "rstrip");
    token.normalized = flag(item, "normalized");
    token.special = flag(item, "special");
    tokens[id] = std::move(token);
  }
  std::vector<AddedToken> ordered;
  for (auto& [id, token] : tokens) ordered.push_back(std::move(token));
  return ordered;
}

bool ConfigFlag(const nlohmann::json& config, const char* name, bool fallback) {
  const auto it = config.find(name);
  return it == config.end() || !it->is_boolean() ? fallback : it->get<bool>();
}

// The parts of a byte-level tokenizer that are not its model.
absl::StatusOr<PipelineTokenizer::Parts> ByteLevelParts(const nlohmann::json& pre_tokenizer) {
  PipelineTokenizer::Parts parts;
  ASSIGN_OR_RETURN(parts.pre_tokenizer, MakePreTokenizer(pre_tokenizer));
  ASSIGN_OR_RETURN(parts.decoder, MakeDecodePlan({{"type", "ByteLevel"}}));
  parts.raw_bytes = true;
  return parts;
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> Finish(PipelineTokenizer::Parts parts,
                                                        const SpecialTokens& names, bool add_bos,
                                                        bool add_eos) {
  ASSIGN_OR_RETURN(auto tokenizer, PipelineTokenizer::Create(std::move(parts)));
  tokenizer->NameSpecialTokens(names);
  tokenizer->SurroundWith(add_bos ? tokenizer->bos_id() : std::nullopt,
                          add_eos ? tokenizer->eos_id() : std::nullopt);
  return tokenizer;
}

absl::Status CheckBytes(const TokenTable& tokens) {
  for (int byte = 0; byte < 256; ++byte) {
    if (!tokens.Find(PrintableOfBytes(std::string(1, static_cast<char>(byte))))) {
      return absl::InvalidArgumentError(
          absl::StrCat("the vocabulary has no token for byte ", byte));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> SplitPatternNamed(std::string_view name) {
  const std::pair<std::string_view, std::string_view> patterns[] = {
      {"", kGpt2Pattern},
      {"default", kGpt2Pattern},
      {"gpt-2", kGpt2Pattern},
      {"gpt2", kGpt2Pattern},
      {"mpt", kGpt2Pattern},
      {"olmo", kGpt2Pattern},
      {"phi-2", kGpt2Pattern},
      {"llama3", kLlama3Pattern},
      {"llama-bpe", kLlama3Pattern},
      {"llama-v3", kLlama3Pattern},
      {"smaug-bpe", kLlama3Pattern},
      {"dbrx", kLlama3Pattern},
      {"qwen2", kQwenPattern},
      {"stablelm2", kQwenPattern},
      {"deepseek-r1-qwen", kQwenPattern},
      {"gpt-4o", kO200kPattern},
      {"llama4", kO200kPattern}};
  for (const auto& [known, pattern] : patterns) {
    if (known == name) return std::string(pattern);
  }
  return absl::UnimplementedError(
      absl::StrCat("the pre-tokenizer '", std::string(name),
                   "' is not known; put a tokenizer.json beside the model"));
}

nlohmann::json ByteLevelSpec(std::string_view pattern) {
  return {{"type", "Sequence"},
          {"pretokenizers",
           {{{"type", "Split"},
             {"pattern", {{"Regex", std::string(pattern)}}},
             {"behavior", "Isolated"}},
            {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}};
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> FromTiktoken(std::string_view ranks, bool qwen,
                                                              const SourceContext& context) {
  TokenTable tokens;
  size_t line_number = 0;
  while (!ranks.empty()) {
    const size_t end = std::min(ranks.find('\n'), ranks.size());
    const std::string_view line = ranks.substr(0, end);
    ranks.remove_prefix(std::min(end + 1, ranks.size()));
    ++line_number;
    if (line.empty()) continue;
    const size_t space = line.find(' ');
    std::string bytes;
    uint32_t rank = 0;
    if (space == std::string_view::npos || !absl::Base64Unescape({line.data(), space}, &bytes) ||
        !absl::SimpleAtoi(absl::string_view(line.data() + space + 1, line.size() - space - 1),
                          &rank)) {
      return absl::InvalidArgumentError(
          absl::StrCat("line ", line_number, " is not a token in base64 and its rank"));
    }
    RETURN_IF_ERROR(tokens.Add(PrintableOfBytes(bytes), rank));
  }
  RETURN_IF_ERROR(CheckBytes(tokens));
  ASSIGN_OR_RETURN(PipelineTokenizer::Parts parts,
                   ByteLevelParts(ByteLevelSpec(qwen ? kQwenPattern : kLlama3Pattern)));
  SpecialTokens names = context.names;
  parts.added = ConfiguredTokens(context.config);
  if (parts.added.empty()) {
    const std::vector<std::string> control =
        qwen ? std::vector<std::string>{"<|endoftext|>", "<|im_start|>", "<|im_end|>"}
             : Llama3ControlTokens();
    for (const std::string& token : control) {
      parts.added.push_back(
          ControlToken(token, tokens.size() + static_cast<uint32_t>(parts.added.size())));
    }
    if (names.bos_token.empty() && !qwen) names.bos_token = control[0];
    if (names.eos_token.empty()) names.eos_token = qwen ? control[0] : control[1];
  }
  BpeOptions options;
  options.raw_bytes = true;
  ASSIGN_OR_RETURN(
      parts.model,
      BpeModel::CreateFromRanks(
          std::move(tokens), [](uint32_t id) { return std::optional<uint32_t>(id); }, options));
  return Finish(std::move(parts), names, !qwen, false);
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> FromVocabAndMerges(const std::string& vocab_json,
                                                                    const std::string& merges,
                                                                    const SourceContext& context) {
  ASSIGN_OR_RETURN(nlohmann::json vocab, ParseJson(vocab_json, "vocab.json"));
  nlohmann::json rules = nlohmann::json::array();
  for (size_t begin = 0; begin < merges.size();) {
    const size_t end = std::min(merges.find('\n', begin), merges.size());
    std::string line = merges.substr(begin, end - begin);
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!line.empty()) rules.push_back(std::move(line));
    begin = end + 1;
  }
  std::string type;
  if (const auto it = context.config.find("tokenizer_class");
      it != context.config.end() && it->is_string()) {
    type = it->get<std::string>();
  }
  const bool qwen = type.find("Qwen2") != std::string::npos;
  const bool prefix = ConfigFlag(context.config, "add_prefix_space", false);
  const nlohmann::json gpt2 = {
      {"type", "ByteLevel"}, {"add_prefix_space", prefix}, {"use_regex", true}};
  ASSIGN_OR_RETURN(PipelineTokenizer::Parts parts,
                   ByteLevelParts(qwen ? ByteLevelSpec(kQwenPattern) : gpt2));
  if (qwen) {
    ASSIGN_OR_RETURN(parts.normalizer, MakeNormalizer({{"type", "NFC"}}));
  }
  const nlohmann::json model = {
      {"type", "BPE"}, {"vocab", std::move(vocab)}, {"merges", std::move(rules)}};
  parts.raw_bytes = BpeTakesRawBytes(model);
  ASSIGN_OR_RETURN(parts.model, MakeModel(model, parts.raw_bytes));
  parts.added = ConfiguredTokens(context.config);
  return Finish(std::move(parts), context.names, ConfigFlag(context.config, "add_bos_token", false),
                ConfigFlag(context.config, "add_eos_token", false));
}

}  // namespace tessera::server
