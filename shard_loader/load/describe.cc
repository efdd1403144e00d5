#include "shard_loader/load/describe.h"

#include <array>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "shard_loader/model/tensors.h"

namespace tessera::shard_loader {
namespace {

using nlohmann::json;

json RopeJson(const RopeSpec& rope) {
  json described = {{"theta", rope.theta}};
  switch (rope.scaling) {
    case RopeSpec::Scaling::kNone:
      described["scaling"] = "none";
      break;
    case RopeSpec::Scaling::kLinear:
      described["scaling"] = "linear";
      described["factor"] = rope.factor;
      break;
    case RopeSpec::Scaling::kLlama3:
      described["scaling"] = "llama3";
      described["factor"] = rope.factor;
      described["low_freq_factor"] = rope.low_freq_factor;
      described["high_freq_factor"] = rope.high_freq_factor;
      described["original_context"] = rope.original_context;
      break;
  }
  return described;
}

json GenerationJson(const GenerationDefaults& generation) {
  json described = json::object();
  const auto add = [&described](const char* name, const auto& value) {
    if (value) described[name] = *value;
  };
  add("temperature", generation.temperature);
  add("top_k", generation.top_k);
  add("top_p", generation.top_p);
  add("min_p", generation.min_p);
  add("repetition_penalty", generation.repetition_penalty);
  add("max_new_tokens", generation.max_new_tokens);
  return described;
}

const char* ActivationText(Activation activation) {
  switch (activation) {
    case Activation::kSilu:
      return "silu";
    case Activation::kGelu:
      return "gelu";
    case Activation::kGeluTanh:
      return "gelu_tanh";
    case Activation::kQuickGelu:
      return "quick_gelu";
    case Activation::kRelu:
      return "relu";
    case Activation::kRelu2:
      return "relu2";
    case Activation::kClampedSwiglu:
      return "clamped_swiglu";
  }
  return "?";
}

json SpecJson(const DecoderSpec& spec) {
  return {{"layers", spec.num_layers},
          {"hidden_size", spec.hidden_size},
          {"heads", spec.attention.num_heads},
          {"kv_heads", spec.attention.num_kv_heads},
          {"head_size", spec.attention.head_size},
          {"qkv_bias", spec.attention.qkv_bias},
          {"output_bias", spec.attention.output_bias},
          {"qk_norm", spec.attention.qk_norm},
          {"windows", spec.attention.windows},
          {"intermediate_size", spec.mlp.intermediate_size},
          {"activation", ActivationText(spec.mlp.activation)},
          {"mlp_bias", spec.mlp.bias},
          {"vocab_size", spec.vocab_size},
          {"context_length", spec.context_length},
          {"norm_epsilon", spec.norm_epsilon},
          {"rope", RopeJson(spec.rope)},
          {"tied_embeddings", spec.tied_embeddings}};
}

// Bytes by dtype, the largest share first in the text.
std::map<std::string, uint64_t> BytesByDType(const Checkpoint& checkpoint) {
  std::map<std::string, uint64_t> bytes;
  for (const StoredTensor& tensor : checkpoint.tensors()) {
    bytes[DTypeName(tensor.dtype)] += tensor.bytes();
  }
  return bytes;
}

std::string WindowsText(const AttentionSpec& attention) {
  const std::set<int64_t> kinds(attention.windows.begin(), attention.windows.end());
  if (kinds.size() == 1 && *kinds.begin() == 0) return "full attention";
  if (kinds.size() == 1) return absl::StrCat("window of ", *kinds.begin(), " on every layer");
  int64_t sliding = 0;
  for (int64_t window : attention.windows) sliding += window > 0 ? 1 : 0;
  return absl::StrCat("window of ", *kinds.rbegin(), " on ", sliding, " of ",
                      attention.windows.size(), " layers");
}

std::string RopeText(const RopeSpec& rope) {
  const char* scaling = rope.scaling == RopeSpec::Scaling::kNone     ? ""
                        : rope.scaling == RopeSpec::Scaling::kLinear ? ", linear scaling by "
                                                                     : ", llama3 scaling by ";
  return absl::StrFormat("theta %g%s%s", rope.theta, scaling,
                         *scaling == '\0' ? "" : absl::StrFormat("%g", rope.factor));
}

// One line a weight; those of the layers once, for layer 0, with the range of layers in the name.
std::string TensorLines(const Checkpoint& checkpoint) {
  std::string lines;
  const std::string layers = absl::StrCat("{0..", checkpoint.spec().num_layers - 1, "}");
  for (TensorId id : ModelTensors(checkpoint.spec())) {
    if (id.layer > 0) continue;
    const StoredTensor* tensor = checkpoint.Find(id);
    if (tensor == nullptr) continue;
    std::string theirs = tensor->name;
    std::string ours = TensorName(id);
    if (id.layer == 0) {
      const size_t number = theirs.find(".0.");
      if (number != std::string::npos) theirs.replace(number + 1, 1, layers);
      ours.replace(ours.find(".0.") + 1, 1, layers);
    }
    absl::StrAppendFormat(&lines, "  %-56s %-32s %-4s [%s]\n", theirs, ours,
                          DTypeName(tensor->dtype), absl::StrJoin(tensor->shape, ", "));
  }
  return lines;
}

}  // namespace

json InspectJson(const Checkpoint& checkpoint) {
  const DecoderSpec& spec = checkpoint.spec();
  json files = json::array();
  for (const CheckpointFile& file : checkpoint.files()) {
    files.push_back({{"name", file.name}, {"bytes", file.size}});
  }
  json tensors = json::array();
  for (TensorId id : ModelTensors(spec)) {
    const StoredTensor* tensor = checkpoint.Find(id);
    if (tensor == nullptr) continue;
    tensors.push_back({{"name", tensor->name},
                       {"ours", TensorName(id)},
                       {"dtype", DTypeName(tensor->dtype)},
                       {"stored", std::string(StoredTypeName(tensor->stored))},
                       {"shape", tensor->shape},
                       {"file", checkpoint.files()[tensor->file].name},
                       {"offset", tensor->offset},
                       {"bytes", tensor->bytes()}});
  }
  return {{"folder", checkpoint.folder().string()},
          {"format", checkpoint.format()},
          {"family", spec.family},
          {"architecture", spec.architecture},
          {"spec", SpecJson(spec)},
          {"dtype", DTypeName(checkpoint.dtype())},
          {"bytes_by_dtype", BytesByDType(checkpoint)},
          {"parameters", checkpoint.num_parameters()},
          {"bytes", checkpoint.total_bytes()},
          {"weights_version", checkpoint.weights_version()},
          {"stop_token_ids", checkpoint.stop_token_ids()},
          {"generation_defaults", GenerationJson(checkpoint.generation())},
          {"files", files},
          {"tensors", tensors},
          {"ignored", checkpoint.ignored()}};
}

std::string InspectText(const Checkpoint& checkpoint) {
  const DecoderSpec& spec = checkpoint.spec();
  std::vector<std::string> dtypes;
  for (const auto& [name, bytes] : BytesByDType(checkpoint)) {
    dtypes.push_back(absl::StrCat(name, " ", FormatBytes(static_cast<int64_t>(bytes))));
  }
  std::string text;
  const auto line = [&text](const char* label, const std::string& value) {
    absl::StrAppendFormat(&text, "%-16s %s\n", label, value);
  };
  line("checkpoint", checkpoint.folder().string());
  line("format", checkpoint.format());
  line("family", absl::StrCat(spec.family, " (", spec.architecture, ")"));
  line("layers", absl::StrCat(spec.num_layers, ", hidden ", spec.hidden_size));
  line("attention",
       absl::StrCat(spec.attention.num_heads, " heads, ", spec.attention.num_kv_heads,
                    " KV heads, head size ", spec.attention.head_size, ", ",
                    WindowsText(spec.attention), spec.attention.qkv_bias ? ", q k v biases" : "",
                    spec.attention.output_bias ? ", output bias" : "",
                    spec.attention.qk_norm ? ", q and k norms" : ""));
  line("mlp", absl::StrCat(spec.mlp.intermediate_size, " columns, ",
                           ActivationText(spec.mlp.activation), spec.mlp.bias ? ", biases" : ""));
  line("positions", absl::StrCat(spec.context_length, ", rope ", RopeText(spec.rope)));
  line("vocabulary",
       absl::StrCat(spec.vocab_size, spec.tied_embeddings ? ", tied embeddings" : ""));
  line("parameters", absl::StrCat(checkpoint.num_parameters()));
  line("weights", absl::StrCat(absl::StrJoin(dtypes, ", "), " in ", checkpoint.files().size(),
                               checkpoint.files().size() == 1 ? " file" : " files"));
  line("weights version", checkpoint.weights_version());
  line("stop ids", absl::StrJoin(checkpoint.stop_token_ids(), ", "));
  line("defaults", GenerationJson(checkpoint.generation()).dump());
  absl::StrAppend(&text, "tensors (in the checkpoint, ours)\n", TensorLines(checkpoint));
  if (!checkpoint.ignored().empty()) {
    absl::StrAppend(&text, "ignored\n");
    for (const std::string& name : checkpoint.ignored()) absl::StrAppend(&text, "  ", name, "\n");
  }
  return text;
}

}  // namespace tessera::shard_loader
