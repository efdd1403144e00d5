#include "shard_loader/model/rope.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "shard_loader/model/hugging_face.h"
#include "shard_loader/model/strict_json.h"

namespace tessera::shard_loader {
namespace {

constexpr NumberBounds kThetaBounds{1.0, 1e15};
constexpr NumberBounds kFactorBounds{1e-3, 1e6};

void ReadLlama3(ConfigReader& scaling, RopeSpec& rope) {
  rope.scaling = RopeSpec::Scaling::kLlama3;
  rope.factor = scaling.Number("factor", kFactorBounds);
  rope.low_freq_factor = scaling.Number("low_freq_factor", kFactorBounds);
  rope.high_freq_factor = scaling.Number("high_freq_factor", kFactorBounds);
  rope.original_context = scaling.Integer("original_max_position_embeddings", kContextBounds);
  if (rope.low_freq_factor >= rope.high_freq_factor) {
    scaling.Fail(absl::StatusCode::kFailedPrecondition, "low_freq_factor",
                 absl::StrCat("is ", rope.low_freq_factor, ", expected less than high_freq_factor ",
                              rope.high_freq_factor));
  }
}

void ReadScaling(ConfigReader& scaling, DecoderSpec& spec) {
  const std::string type = scaling.String("rope_type", scaling.String("type", "default"));
  if (type == "default") return;
  if (type == "linear") {
    spec.rope.scaling = RopeSpec::Scaling::kLinear;
    spec.rope.factor = scaling.Number("factor", kFactorBounds);
    const double context = static_cast<double>(spec.context_length) * spec.rope.factor;
    spec.context_length =
        static_cast<int64_t>(std::clamp(context, 1.0, static_cast<double>(kContextBounds.most)));
  } else if (type == "llama3") {
    ReadLlama3(scaling, spec.rope);
  } else {
    scaling.Fail(absl::StatusCode::kUnimplemented, "rope_type",
                 absl::StrCat("is '", Excerpt(type), "', supported are default, linear, llama3"));
  }
}

// The nested object `key`, or an empty one after an error.
const nlohmann::json& Object(ConfigReader& config, const std::string& key) {
  static const auto& kEmpty = *new nlohmann::json(nlohmann::json::object());
  if (config.Get(key).is_object()) return config.Get(key);
  config.Fail(absl::StatusCode::kFailedPrecondition, key, "is no object");
  return kEmpty;
}

void CheckWholeHead(ConfigReader& config) {
  const double part = config.Number("partial_rotary_factor", {0.0, 1.0}, 1.0);
  if (part != 1.0) {
    config.Fail(absl::StatusCode::kUnimplemented, "partial_rotary_factor",
                absl::StrCat("is ", part, ", supported is 1 (the whole head)"));
  }
}

}  // namespace

void ReadRope(ConfigReader& config, DecoderSpec& spec) {
  spec.rope.theta = config.Number("rope_theta", kThetaBounds, 10000.0);
  CheckWholeHead(config);
  const std::string key = config.Has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  if (!config.Has(key)) return;
  ConfigReader scaling(Object(config, key), config.file(), key + ".");
  for (const char* nested : {"full_attention", "sliding_attention"}) {
    if (scaling.Has(nested)) {
      scaling.Fail(absl::StatusCode::kUnimplemented, nested,
                   "is there, but one rope for all layers is supported only");
    }
  }
  spec.rope.theta = scaling.Number("rope_theta", kThetaBounds, spec.rope.theta);
  CheckWholeHead(scaling);
  ReadScaling(scaling, spec);
  config.Adopt(scaling.status());
}

}  // namespace tessera::shard_loader
