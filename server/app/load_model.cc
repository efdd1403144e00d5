#include "server/app/load_model.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "shard_loader/load/carried_vocabulary.h"
#include "shard_loader/status_macros.h"

namespace tessera::server {
namespace {

namespace fs = std::filesystem;

// The folder's name; the bundled model lies in demo/model.
std::string NameOf(const fs::path& model_dir) {
  fs::path dir = fs::weakly_canonical(model_dir);
  if (dir.filename() == "model" && dir.has_parent_path()) dir = dir.parent_path();
  return dir.filename().string();
}

SamplingDefaults ToDefaults(const shard_loader::GenerationDefaults& generation) {
  SamplingDefaults defaults;
  auto set = [](const auto& from, auto& to) {
    using Value = typename std::remove_reference_t<decltype(to)>::value_type;
    if (from) to = static_cast<Value>(*from);
  };
  set(generation.temperature, defaults.temperature);
  set(generation.top_k, defaults.top_k);
  set(generation.top_p, defaults.top_p);
  set(generation.min_p, defaults.min_p);
  set(generation.repetition_penalty, defaults.repetition_penalty);
  if (generation.max_new_tokens.value_or(0) > 0) {
    set(generation.max_new_tokens, defaults.max_tokens);
  }
  return defaults;
}

// Every token stands for at most so many bytes of a text. Four times over: a normalizer may drop
// some before they are tokenized.
size_t MaxPromptBytes(const Tokenizer& tokenizer, uint32_t max_model_len) {
  size_t longest = 1;
  for (uint32_t id = 0; id < tokenizer.size(); ++id) {
    longest = std::max(longest, tokenizer.TokenBytes(id).size());
  }
  return 4 * longest * max_model_len;
}

ServedModel Describe(const LoadedModel& loaded, const ServerOptions& options) {
  const auto& checkpoint = *loaded.checkpoint;
  ServedModel served;
  served.name = options.model_name.empty() ? NameOf(options.model_dir) : options.model_name;
  served.family = checkpoint.spec().family;
  served.max_model_len = options.group.max_model_len > 0
                             ? options.group.max_model_len
                             : static_cast<uint32_t>(checkpoint.spec().context_length);
  served.vocab_size = static_cast<uint32_t>(checkpoint.spec().vocab_size);
  served.max_logprobs = options.group.max_logprobs;
  served.num_parameters = checkpoint.num_parameters();
  served.weights_version = checkpoint.weights_version();
  for (int64_t id : checkpoint.stop_token_ids()) {
    served.eos_token_ids.push_back(static_cast<uint32_t>(id));
  }
  served.defaults = ToDefaults(checkpoint.generation());
  served.max_prompt_bytes = MaxPromptBytes(*loaded.tokenizer, served.max_model_len);
  return served;
}

Vocabulary ToVocabulary(const shard_loader::GgufVocabulary& carried) {
  Vocabulary vocabulary;
  vocabulary.model = carried.model == "gpt2" ? Vocabulary::Model::kByteLevelBpe
                                             : Vocabulary::Model::kSentencePieceBpe;
  vocabulary.tokens = carried.tokens;
  vocabulary.scores = carried.scores;
  for (const auto kind : carried.kinds) {
    using From = shard_loader::GgufVocabulary::Kind;
    using To = Vocabulary::Kind;
    vocabulary.kinds.push_back(kind == From::kUnknown       ? To::kUnknown
                               : kind == From::kControl     ? To::kControl
                               : kind == From::kUserDefined ? To::kUserDefined
                               : kind == From::kUnused      ? To::kUnused
                               : kind == From::kByte        ? To::kByte
                                                            : To::kNormal);
  }
  vocabulary.merges = carried.merges;
  vocabulary.pre_tokenizer = carried.pre_tokenizer;
  vocabulary.bos_id = carried.bos_id;
  vocabulary.eos_id = carried.eos_id;
  vocabulary.unk_id = carried.unk_id;
  vocabulary.pad_id = carried.pad_id;
  // llama.cpp's defaults: SentencePiece models begin with bos and a space, byte-level ones do not.
  const bool sentence_piece = vocabulary.model == Vocabulary::Model::kSentencePieceBpe;
  vocabulary.add_bos = carried.add_bos.value_or(sentence_piece);
  vocabulary.add_eos = carried.add_eos.value_or(false);
  vocabulary.add_space_prefix = carried.add_space_prefix.value_or(sentence_piece);
  return vocabulary;
}

// The tokenizer and chat template of the folder's own files; without such, those that a weight file
// carries.
absl::Status LoadText(const ServerOptions& options, LoadedModel* loaded) {
  auto tokenizer = Tokenizer::Load(options.model_dir);
  auto chat_template = ChatTemplate::Load(options.model_dir, options.chat_template_file);
  std::string carried_template;
  if (absl::IsNotFound(tokenizer.status())) {
    const auto carried = shard_loader::ReadCarriedVocabulary(*loaded->checkpoint);
    if (absl::IsNotFound(carried.status())) return tokenizer.status();
    RETURN_IF_ERROR(carried.status());
    if (carried->model != "gpt2" && carried->model != "llama") {
      return absl::UnimplementedError(
          absl::StrCat("the weight file carries a tokenizer of model '", carried->model,
                       "', supported are gpt2 and llama; put a tokenizer.json beside it"));
    }
    tokenizer = Tokenizer::FromVocabulary(ToVocabulary(*carried));
    carried_template = carried->chat_template;
  }
  RETURN_IF_ERROR(tokenizer.status());
  loaded->tokenizer = *std::move(tokenizer);
  if (absl::IsNotFound(chat_template.status()) && !carried_template.empty()) {
    chat_template = ChatTemplate::Parse(carried_template, loaded->tokenizer->special_tokens());
  }
  if (chat_template.ok()) {
    loaded->chat_template = *std::move(chat_template);
  } else if (!absl::IsNotFound(chat_template.status()) || !options.chat_template_file.empty()) {
    return chat_template.status();
  }
  return absl::OkStatus();
}

// A draft model without tokenizer files takes the model's.
absl::Status CheckSameTokens(const std::string& draft_dir, const Tokenizer& tokenizer) {
  absl::StatusOr<std::unique_ptr<const Tokenizer>> draft = Tokenizer::Load(draft_dir);
  if (absl::IsNotFound(draft.status())) return absl::OkStatus();
  RETURN_IF_ERROR(draft.status());
  for (uint32_t id = 0; id < std::max(tokenizer.size(), (*draft)->size()); ++id) {
    if (tokenizer.TokenText(id) == (*draft)->TokenText(id)) continue;
    return absl::FailedPreconditionError(absl::StrCat(
        "--draft ", draft_dir, ": its tokenizer is another one: token ", id, " is '",
        (*draft)->TokenText(id), "' there and '", tokenizer.TokenText(id), "' in the model's"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<LoadedModel> LoadModel(const ServerOptions& options) {
  LoadedModel loaded;
  ASSIGN_OR_RETURN(loaded.checkpoint,
                   shard_loader::Checkpoint::Open(
                       options.model_dir,
                       {.format = options.format, .with_weights = options.group.device != "sim"}));
  RETURN_IF_ERROR(LoadText(options, &loaded));
  if (options.speculate == "draft") {
    ASSIGN_OR_RETURN(loaded.draft, shard_loader::Checkpoint::Open(options.draft_dir));
    RETURN_IF_ERROR(CheckSameTokens(options.draft_dir, *loaded.tokenizer));
  }
  loaded.served = Describe(loaded, options);
  return loaded;
}

}  // namespace tessera::server
