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
  if (method == "mxfp4") return absl::OkStatus();  // its tensors say what they are
  return absl::UnimplementedError(
      absl::StrCat("shard_loader: ", kFile, ": quantization_config asks for method '", method,
                   "'; supported are mxfp4, and weights stored as f32, f16 or bf16"));
}

}  // namespace

const std::vector<const Family*>& Families() {
  static const auto& families = *new std::vector<const Family*>{&LlamaFamily(), &MistralFamily(),
                                                                &Qwen2Family(), &Qwen3Family()};
  return families;
}

std::string Model::ForeignName(TensorId id) const {
  for (const NamePattern& pattern : family->names()) {
    if (pattern.role != id.role) continue;
    std::string name = pattern.name;
    const size_t hole = name.find("{}");
    if (hole != std::string::npos) name.replace(hole, 2, std::to_string(id.layer));
    return name;
  }
  return "";
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
