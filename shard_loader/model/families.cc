#include "shard_loader/model/families.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/model/config_reader.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

constexpr const char* kFile = "config.json";
constexpr IntegerBounds kTokenIdBounds{-1, int64_t{1} << 31};

std::string SupportedArchitectures() {
  std::string list;
  for (const Family* family : Families()) {
    absl::StrAppend(&list, list.empty() ? "" : ", ", family->architectures[0]);
  }
  return list;
}

// Code beside the weights is a program of a stranger: named and refused.
absl::Status RefuseRemoteCode(const nlohmann::json& config) {
  const auto found = config.find("auto_map");
  if (found == config.end() || found->is_null()) return absl::OkStatus();
  std::string code;
  if (found->is_object() && !found->empty() && found->begin()->is_string()) {
    code = absl::StrCat(" ('", Excerpt(found->begin()->get_ref<const std::string&>()), "')");
  }
  return absl::UnimplementedError(
      absl::StrCat("shard_loader: ", kFile, ": auto_map", code,
                   " asks to run code that comes with the checkpoint, which is never done; use a "
                   "checkpoint of a built-in architecture: ",
                   SupportedArchitectures()));
}

absl::StatusOr<const Family*> FindFamily(ConfigReader& config, std::string& architecture) {
  const std::vector<std::string> architectures = config.StringList("architectures");
  const std::string model_type = config.String("model_type", "");
  RETURN_IF_ERROR(config.status());
  if (!architectures.empty()) architecture = architectures[0];
  for (const Family* family : Families()) {
    const bool by_architecture =
        std::any_of(family->architectures.begin(), family->architectures.end(),
                    [&](const char* name) { return architecture == name; });
    if (by_architecture && !model_type.empty() && model_type != family->name) {
      return absl::FailedPreconditionError(absl::StrCat(
          "shard_loader: ", kFile, ": model_type is '", Excerpt(model_type),
          "', but architectures says ", architecture, ", which is '", family->name, "'"));
    }
    if (by_architecture || (architectures.empty() && model_type == family->name)) {
      if (architecture.empty()) architecture = family->architectures[0];
      return family;
    }
  }
  return absl::UnimplementedError(
      absl::StrCat("shard_loader: ", kFile, ": architecture '",
                   Excerpt(architecture.empty() ? model_type : architecture),
                   "' is not supported; supported are ", SupportedArchitectures()));
}

absl::Status RefuseQuantised(const ConfigReader& config) {
  const nlohmann::json& quantisation = config.Get("quantization_config");
  if (quantisation.is_null()) return absl::OkStatus();
  std::string method = "unknown";
  if (quantisation.is_object() && quantisation.contains("quant_method") &&
      quantisation["quant_method"].is_string()) {
    method = Excerpt(quantisation["quant_method"].get_ref<const std::string&>());
  }
  // Their tensors say what they are.
  if (method == "mxfp4" || method == "fp8") return absl::OkStatus();
  const bool floats = quantisation.is_object() && quantisation.contains("format") &&
                      quantisation["format"] == "float-quantized";
  if (method == "compressed-tensors" && floats) return absl::OkStatus();
  return absl::UnimplementedError(
      absl::StrCat("shard_loader: ", kFile, ": quantization_config asks for method '", method,
                   "'; supported are fp8, mxfp4, compressed-tensors' float-quantized, and weights "
                   "stored as f32, f16 or bf16"));
}

}  // namespace

const std::vector<const Family*>& Families() {
  static const auto& families = *new std::vector<const Family*>{
      &BloomFamily(),      &CodegenFamily(),    &CohereFamily(),   &Cohere2Family(),
      &DeepseekV2Family(), &DeepseekV3Family(), &Ernie45Family(),  &Exaone4Family(),
      &FalconFamily(),     &GemmaFamily(),      &Gemma2Family(),   &Gemma3TextFamily(),
      &GlmFamily(),        &Glm4Family(),       &Glm4MoeFamily(),  &Gpt2Family(),
      &GptBigcodeFamily(), &GptNeoxFamily(),    &GptOssFamily(),   &GptjFamily(),
      &GraniteFamily(),    &GranitemoeFamily(), &LlamaFamily(),    &MistralFamily(),
      &MixtralFamily(),    &MptFamily(),        &NemotronFamily(), &OlmoFamily(),
      &Olmo2Family(),      &Olmo3Family(),      &OlmoeFamily(),    &OptFamily(),
      &PhiFamily(),        &Phi3Family(),       &Qwen2Family(),    &Qwen2MoeFamily(),
      &Qwen3Family(),      &Qwen3MoeFamily(),   &SeedOssFamily(),  &Smollm3Family(),
      &StablelmFamily(),   &Starcoder2Family(),
  };
  return families;
}

std::vector<const NamePattern*> Model::Patterns(TensorRole role) const {
  std::vector<const NamePattern*> found;
  for (const NamePattern& pattern : family->names()) {
    if (pattern.role == role) found.push_back(&pattern);
  }
  return found;
}

std::vector<std::string> Model::Names(const NamePattern& pattern, TensorId id, int64_t head) const {
  std::string name = pattern.name;
  const auto fill = [&name](const char* hole, int64_t number) {
    const size_t at = name.find(hole);
    if (at != std::string::npos) name.replace(at, std::string(hole).size(), std::to_string(number));
  };
  fill("{}", id.layer);
  fill("{e}", id.expert);
  fill("{h}", head);
  const std::string prefix = family->prefix;
  if (prefix.empty() || !name.starts_with(prefix)) return {name};
  return {name, name.substr(prefix.size())};
}

std::string Model::ForeignName(TensorId id) const {
  const std::vector<const NamePattern*> patterns = Patterns(id.role);
  return patterns.empty() ? "" : Names(*patterns[0], id)[0];
}

absl::StatusOr<Model> ParseConfig(std::string_view config_json) {
  ASSIGN_OR_RETURN(const nlohmann::json document, ParseJsonObject(config_json, kFile));
  RETURN_IF_ERROR(RefuseRemoteCode(document));
  ConfigReader config(document, kFile);
  Model model;
  ASSIGN_OR_RETURN(model.family, FindFamily(config, model.spec.architecture));
  RETURN_IF_ERROR(RefuseQuantised(config));
  model.spec.family = model.family->name;
  model.family->parse(config, model.spec);
  model.bos_token_id = config.Integer("bos_token_id", kTokenIdBounds, -1);
  for (int64_t id : config.IntegerOrList("eos_token_id", kTokenIdBounds)) {
    if (id >= 0 && id < model.spec.vocab_size) model.eos_token_ids.push_back(id);
  }
  RETURN_IF_ERROR(config.status());
  return model;
}

}  // namespace tessera::shard_loader
