#include "server/app/load_model.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
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

}  // namespace

absl::StatusOr<LoadedModel> LoadModel(const ServerOptions& options) {
  LoadedModel loaded;
  ASSIGN_OR_RETURN(loaded.checkpoint, shard_loader::Checkpoint::Open(options.model_dir));
  ASSIGN_OR_RETURN(loaded.tokenizer, Tokenizer::Load(options.model_dir));
  auto chat_template = ChatTemplate::Load(options.model_dir, options.chat_template_file);
  if (chat_template.ok()) {
    loaded.chat_template = *std::move(chat_template);
  } else if (!absl::IsNotFound(chat_template.status()) || !options.chat_template_file.empty()) {
    return chat_template.status();
  }
  loaded.served = Describe(loaded, options);
  return loaded;
}

}  // namespace tessera::server
