#include "shard_loader/load/describe.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "shard_loader/model/tensors.h"

namespace tessera::shard_loader {
namespace {

using nlohmann::json;

const char* ScalingText(RopeSpec::Scaling scaling) {
  switch (scaling) {
    case RopeSpec::Scaling::kNone:
      return "none";
    case RopeSpec::Scaling::kLinear:
      return "linear";
    case RopeSpec::Scaling::kLlama3:
      return "llama3";
    case RopeSpec::Scaling::kYarn:
      return "yarn";
    case RopeSpec::Scaling::kLongrope:
      return "longrope";
    case RopeSpec::Scaling::kDynamic:
      return "dynamic";
  }
  return "?";
}

json RopeJson(const RopeSpec& rope) {
  json described = {{"theta", rope.theta}, {"scaling", ScalingText(rope.scaling)}};
  if (rope.scaling == RopeSpec::Scaling::kNone) return described;
  described["factor"] = rope.factor;
  if (rope.scaling == RopeSpec::Scaling::kLinear) return described;
  described["original_context"] = rope.original_context;
  if (rope.scaling == RopeSpec::Scaling::kLlama3) {
    described["low_freq_factor"] = rope.low_freq_factor;
    described["high_freq_factor"] = rope.high_freq_factor;
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

const char* QkNormText(QkNorm norm) {
  switch (norm) {
    case QkNorm::kNone:
      return "none";
    case QkNorm::kPerHead:
      return "per_head";
    case QkNorm::kOwnPerHead:
      return "own_per_head";
    case QkNorm::kAllHeads:
      return "all_heads";
  }
  return "?";
}

json AttentionJson(const AttentionSpec& attention) {
  json described = {{"heads", attention.num_heads},
                    {"kv_heads", attention.num_kv_heads},
                    {"head_size", attention.head_size},
                    {"value_size", attention.values()},
                    {"qkv_bias", attention.qkv_bias},
                    {"output_bias", attention.output_bias},
                    {"qk_norm", QkNormText(attention.qk_norm)},
                    {"windows", attention.windows},
                    {"rotary_size", attention.rotary()},
                    {"alibi", attention.alibi},
                    {"sinks", attention.sinks}};
  if (attention.soft_cap > 0) described["soft_cap"] = attention.soft_cap;
  if (attention.latent.kv_rank > 0) {
    described["latent"] = {{"query_rank", attention.latent.query_rank},
                           {"kv_rank", attention.latent.kv_rank}};
  }
  return described;
}

json MoeJson(const MoeSpec& moe) {
  return {{"experts", moe.num_experts},
          {"per_token", moe.experts_per_token},
          {"intermediate_size", moe.intermediate_size},
          {"scores", moe.scores == MoeSpec::Scores::kSigmoid ? "sigmoid" : "softmax"},
          {"groups", moe.num_groups},
          {"shared_columns", moe.shared_columns},
          {"layers", std::count(moe.on_layer.begin(), moe.on_layer.end(), true)}};
}

json SpecJson(const DecoderSpec& spec) {
  json described = AttentionJson(spec.attention);
  described.update({{"layers", spec.num_layers},
                    {"hidden_size", spec.hidden_size},
                    {"intermediate_size", spec.mlp.intermediate_size},
                    {"activation", ActivationText(spec.mlp.activation)},
                    {"gated", spec.mlp.gated},
                    {"mlp_bias", spec.mlp.bias},
                    {"vocab_size", spec.vocab_size},
                    {"context_length", spec.context_length},
                    {"norm", spec.norm.kind == NormKind::kRms ? "rms" : "layer"},
                    {"norm_epsilon", spec.norm_epsilon},
                    {"parallel_residual", spec.residual != Residual::kSequential},
                    {"learned_positions", spec.num_position_rows > 0},
                    {"tied_embeddings", spec.tied_embeddings}});
  if (spec.UsesRope(RopeUse::kMain)) described["rope"] = RopeJson(spec.rope);
  if (spec.UsesRope(RopeUse::kLocal)) described["local_rope"] = RopeJson(spec.local_rope);
  if (spec.moe.num_experts > 0) described["moe"] = MoeJson(spec.moe);
  return described;
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
  std::string text = absl::StrFormat("theta %g", rope.theta);
  if (rope.scaling != RopeSpec::Scaling::kNone) {
    absl::StrAppendFormat(&text, ", %s scaling by %g", ScalingText(rope.scaling), rope.factor);
  }
  return text;
}

std::string PositionsText(const DecoderSpec& spec) {
  std::string text = absl::StrCat(spec.context_length);
  if (spec.UsesRope(RopeUse::kMain)) absl::StrAppend(&text, ", rope ", RopeText(spec.rope));
  if (spec.UsesRope(RopeUse::kLocal)) {
    absl::StrAppend(&text, ", under windows ", RopeText(spec.local_rope));
  }
  if (spec.attention.alibi) absl::StrAppend(&text, ", ALiBi");
  if (spec.num_position_rows > 0) absl::StrAppend(&text, ", learned");
  return text;
}

std::string MlpText(const DecoderSpec& spec) {
  std::string text;
  if (spec.HasDense()) text = absl::StrCat(spec.mlp.intermediate_size, " columns, ");
  absl::StrAppend(&text, ActivationText(spec.mlp.activation), spec.mlp.gated ? "" : ", not gated",
                  spec.mlp.bias ? ", biases" : "");
  const MoeSpec& moe = spec.moe;
  if (moe.num_experts == 0) return text;
  absl::StrAppend(&text, ", ", moe.experts_per_token, " of ", moe.num_experts, " experts of ",
                  moe.intermediate_size, " columns on ",
                  std::count(moe.on_layer.begin(), moe.on_layer.end(), true), " layers");
  if (moe.shared_columns > 0) absl::StrAppend(&text, ", ", moe.shared_columns, " shared");
  return text;
}

// `name` with the layers from `first` to `last` in the place of the first one's number.
std::string WithLayers(std::string name, int64_t first, int64_t last) {
  const std::string number = absl::StrCat(".", first, ".");
  const size_t at = ("." + name).find(number);
  if (at == std::string::npos || first == last) return name;
  return name.replace(at, number.size() - 2, absl::StrCat("{", first, "..", last, "}"));
}

// One line a weight; those of the layers once, for the first one that has them, with the first and
// last of these in the name, and for expert 0.
std::string TensorLines(const Checkpoint& checkpoint) {
  std::map<TensorRole, std::pair<int64_t, int64_t>> layers;  // the first and the last with a role
  const std::vector<TensorId> ids = ModelTensors(checkpoint.spec());
  for (TensorId id : ids) {
    layers.try_emplace(id.role, id.layer, id.layer).first->second.second = id.layer;
  }
  std::string lines;
  for (TensorId id : ids) {
    const auto [first, last] = layers[id.role];
    const StoredTensor* tensor = checkpoint.Find(id);
    if (id.layer != first || id.expert > 0 || tensor == nullptr) continue;
    absl::StrAppendFormat(&lines, "  %-56s %-32s %-4s [%s]\n",
                          WithLayers(tensor->name, first, last),
                          WithLayers(TensorName(id), first, last), DTypeName(tensor->dtype),
                          absl::StrJoin(tensor->shape, ", "));
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
                    spec.attention.qk_norm != QkNorm::kNone ? ", q and k norms" : ""));
  line("mlp", MlpText(spec));
  line("positions", PositionsText(spec));
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
