#include "shard_loader/model/tensorflow.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace tessera::shard_loader {
namespace {

using Parts = std::vector<std::string>;

Parts Split(std::string_view path) {
  return absl::StrSplit(absl::string_view(path.data(), path.size()), '/', absl::SkipEmpty());
}

// "h_._0" is "h/0"; in "a___b" only b counts.
Parts SplitLists(const Parts& parts) {
  Parts out;
  for (const std::string& part : parts) {
    const size_t kept = part.find("___");
    const std::string name = kept == part.npos ? part : part.substr(kept + 3);
    for (auto piece : absl::StrSplit(name, "_._", absl::SkipEmpty())) out.emplace_back(piece);
  }
  return out;
}

// What the last part says of the weight; the others are the module's path.
ForeignName Finish(Parts parts) {
  if (parts.empty()) return {};
  ForeignName out;
  std::string& last = parts.back();
  out.transposed = last == "kernel";
  if (last == "kernel" || last == "embeddings" || last == "gamma") last = "weight";
  if (last == "beta") last = "bias";
  out.name = absl::StrJoin(parts, ".");
  return out;
}

struct Row {
  const char* original;
  const char* hugging_face;
};

// github.com/openai/gpt-2: src/model.py.
constexpr Row kOpenAi[] = {
    {"wte", "wte.weight"},
    {"wpe", "wpe.weight"},
    {"ln_f/g", "ln_f.weight"},
    {"ln_f/b", "ln_f.bias"},
};
constexpr Row kOpenAiLayer[] = {
    {"ln_1/g", "ln_1.weight"},
    {"ln_1/b", "ln_1.bias"},
    {"ln_2/g", "ln_2.weight"},
    {"ln_2/b", "ln_2.bias"},
    {"attn/c_attn/w", "attn.c_attn.weight"},
    {"attn/c_attn/b", "attn.c_attn.bias"},
    {"attn/c_proj/w", "attn.c_proj.weight"},
    {"attn/c_proj/b", "attn.c_proj.bias"},
    {"mlp/c_fc/w", "mlp.c_fc.weight"},
    {"mlp/c_fc/b", "mlp.c_fc.bias"},
    {"mlp/c_proj/w", "mlp.c_proj.weight"},
    {"mlp/c_proj/b", "mlp.c_proj.bias"},
};

std::string OpenAiName(std::string_view key) {
  constexpr std::string_view kModel = "model/";
  if (!key.starts_with(kModel)) return "";
  key.remove_prefix(kModel.size());
  for (const Row& row : kOpenAi) {
    if (key == row.original) return row.hugging_face;
  }
  const size_t slash = key.find('/');
  const bool is_layer = slash != key.npos && slash > 1 && key[0] == 'h' &&
                        std::all_of(key.begin() + 1, key.begin() + static_cast<ptrdiff_t>(slash),
                                    [](char c) { return c >= '0' && c <= '9'; });
  if (!is_layer) return "";
  for (const Row& row : kOpenAiLayer) {
    if (key.substr(slash + 1) != row.original) continue;
    const std::string_view number = key.substr(1, slash - 1);
    return absl::StrCat("h.", std::string(number), ".", row.hugging_face);
  }
  return "";
}

}  // namespace

ForeignName HuggingFaceNameOfKeras(std::string_view path) {
  const size_t colon = path.rfind(':');
  Parts parts = Split(path.substr(0, colon));
  // The layer's group, and the model's name inside of it.
  const size_t skipped = std::min<size_t>(2, parts.size());
  parts.erase(parts.begin(), parts.begin() + static_cast<ptrdiff_t>(skipped));
  return Finish(SplitLists(parts));
}

ForeignName HuggingFaceNameOfVariable(std::string_view key) {
  constexpr std::string_view kAttribute = "/.ATTRIBUTES/VARIABLE_VALUE";
  if (const std::string name = OpenAiName(key); !name.empty()) return {name, false};
  if (key.ends_with(kAttribute)) {
    key.remove_suffix(kAttribute.size());
    // A trainer's own state, and slots of its optimizer.
    if (key.find("/.OPTIMIZER_SLOT/") != key.npos || key.starts_with("optimizer/") ||
        key.starts_with("_CHECKPOINTABLE") || key == "save_counter") {
      return {};
    }
    Parts parts = Split(key);
    if (!parts.empty() && parts[0] == "model" && parts.size() > 1 && parts[1] != "layers" &&
        parts[1] != "embed_tokens" && parts[1] != "norm") {
      parts.erase(parts.begin());  // tf.train.Checkpoint(model=...)
    }
    return Finish(std::move(parts));
  }
  Parts parts = Split(key);
  if (parts.size() > 1) parts.erase(parts.begin());
  return Finish(SplitLists(parts));
}

}  // namespace tessera::shard_loader
