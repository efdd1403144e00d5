#include "shard_loader/model/rope.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "shard_loader/model/hugging_face.h"
#include "shard_loader/model/strict_json.h"

namespace tessera::shard_loader {
namespace {

using Scaling = RopeSpec::Scaling;

constexpr NumberBounds kThetaBounds{1.0, 1e15};
constexpr NumberBounds kFactorBounds{1e-3, 1e6};
constexpr const char* kOriginal = "original_max_position_embeddings";

// Positions of `context` times `factor`.
int64_t Widened(int64_t context, double factor) {
  const double positions = static_cast<double>(context) * factor;
  return static_cast<int64_t>(std::clamp(positions, 1.0, static_cast<double>(kContextBounds.most)));
}

void ReadLlama3(ConfigReader& scaling, RopeSpec& rope) {
  rope.scaling = Scaling::kLlama3;
  rope.factor = scaling.Number("factor", kFactorBounds);
  rope.low_freq_factor = scaling.Number("low_freq_factor", kFactorBounds);
  rope.high_freq_factor = scaling.Number("high_freq_factor", kFactorBounds);
  rope.original_context = scaling.Integer(kOriginal, kContextBounds);
  if (rope.low_freq_factor >= rope.high_freq_factor) {
    scaling.Fail(absl::StatusCode::kFailedPrecondition, "low_freq_factor",
                 absl::StrCat("is ", rope.low_freq_factor, ", expected less than high_freq_factor ",
                              rope.high_freq_factor));
  }
}

void ReadYarn(ConfigReader& scaling, DecoderSpec& spec, RopeSpec& rope) {
  rope.scaling = Scaling::kYarn;
  rope.factor = scaling.Number("factor", kFactorBounds);
  rope.original_context = scaling.Integer(kOriginal, kContextBounds, spec.context_length);
  rope.beta_fast = scaling.Number("beta_fast", kFactorBounds, 32.0);
  rope.beta_slow = scaling.Number("beta_slow", kFactorBounds, 1.0);
  rope.truncate = scaling.Bool("truncate", true);
  rope.attention_factor = scaling.Number("attention_factor", {0.0, 1e6}, 0.0);
  rope.mscale = scaling.Number("mscale", {0.0, 1e6}, 0.0);
  rope.mscale_all_dim = scaling.Number("mscale_all_dim", {0.0, 1e6}, 0.0);
  spec.context_length = std::max(spec.context_length, Widened(rope.original_context, rope.factor));
}

// `original_max_position_embeddings` stands beside the scaling in Phi 3's files.
void ReadLongrope(ConfigReader& config, ConfigReader& scaling, DecoderSpec& spec, RopeSpec& rope) {
  rope.scaling = Scaling::kLongrope;
  const bool beside = config.Has(kOriginal);
  rope.original_context =
      (beside ? config : scaling).Integer(kOriginal, kContextBounds, spec.context_length);
  const double widened =
      static_cast<double>(spec.context_length) / static_cast<double>(rope.original_context);
  rope.factor = beside ? widened : scaling.Number("factor", kFactorBounds, widened);
  rope.attention_factor = scaling.Number("attention_factor", {0.0, 1e6}, 0.0);
  rope.short_divisors = scaling.NumberList("short_factor", kFactorBounds);
  rope.long_divisors = scaling.NumberList("long_factor", kFactorBounds);
  const auto size = static_cast<size_t>(spec.attention.rotary() / 2);
  for (const auto& [key, divisors] : {std::pair{"short_factor", &rope.short_divisors},
                                      std::pair{"long_factor", &rope.long_divisors}}) {
    if (divisors->size() == size) continue;
    scaling.Fail(absl::StatusCode::kFailedPrecondition, key,
                 absl::StrCat("has ", divisors->size(), " entries, expected ", size));
    divisors->assign(size, 1.0);
  }
}

void ReadScaling(ConfigReader& config, ConfigReader& scaling, DecoderSpec& spec, RopeSpec& rope) {
  const std::string type = scaling.String("rope_type", scaling.String("type", "default"));
  if (type == "default") return;
  if (type == "linear") {
    rope.scaling = Scaling::kLinear;
    rope.factor = scaling.Number("factor", kFactorBounds);
    spec.context_length = Widened(spec.context_length, rope.factor);
  } else if (type == "dynamic") {
    rope.scaling = Scaling::kDynamic;
    rope.factor = scaling.Number("factor", kFactorBounds);
    rope.original_context = spec.context_length;
    spec.context_length = Widened(spec.context_length, std::max(1.0, rope.factor));
  } else if (type == "llama3") {
    ReadLlama3(scaling, rope);
  } else if (type == "yarn") {
    ReadYarn(scaling, spec, rope);
  } else if (type == "longrope" || type == "su") {
    ReadLongrope(config, scaling, spec, rope);
  } else {
    scaling.Fail(absl::StatusCode::kUnimplemented, "rope_type",
                 absl::StrCat("is '", Excerpt(type),
                              "', supported are default, linear, dynamic, llama3, yarn, longrope"));
  }
}

// The nested object `key`, or an empty one after an error.
const nlohmann::json& Object(ConfigReader& config, const std::string& key) {
  static const auto& kEmpty = *new nlohmann::json(nlohmann::json::object());
  if (config.Get(key).is_object()) return config.Get(key);
  config.Fail(absl::StatusCode::kFailedPrecondition, key, "is no object");
  return kEmpty;
}

void ReadPartial(ConfigReader& reader, double fallback, DecoderSpec& spec) {
  const std::string key = reader.Key({"partial_rotary_factor", "rotary_pct"});
  const double part = reader.Number(key, {0.0, 1.0}, fallback);
  const double size = static_cast<double>(spec.attention.head_size) * part;
  spec.attention.rotary_size = static_cast<int64_t>(size);
  if (spec.attention.rotary_size >= 2 && spec.attention.rotary_size % 2 == 0) return;
  reader.Fail(absl::StatusCode::kFailedPrecondition, key,
              absl::StrCat("is ", part, ", which leaves ", spec.attention.rotary_size, " of ",
                           spec.attention.head_size,
                           " elements to rotate; expected an even number of at least 2"));
  spec.attention.rotary_size = 2;
}

// One entry of rope_parameters, or rope_scaling.
void ReadEntry(ConfigReader& config, ConfigReader& entry, const RopeDefaults& defaults,
               DecoderSpec& spec, RopeSpec& rope) {
  rope.theta = entry.Number("rope_theta", kThetaBounds, rope.theta);
  const double part =
      static_cast<double>(spec.attention.rotary()) / static_cast<double>(spec.attention.head_size);
  if (!defaults.whole_head_only && entry.Has("partial_rotary_factor")) {
    ReadPartial(entry, part, spec);
  }
  ReadScaling(config, entry, spec, rope);
  config.Adopt(entry.status());
}

}  // namespace

void ReadRope(ConfigReader& config, const RopeDefaults& defaults, DecoderSpec& spec) {
  const std::string theta = config.Key({"rope_theta", "rotary_emb_base"});
  spec.rope.theta = config.Number(theta, kThetaBounds, defaults.theta);
  if (!defaults.whole_head_only) ReadPartial(config, defaults.partial, spec);
  const std::string key = config.Has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  if (!config.Has(key)) return;
  const nlohmann::json& object = Object(config, key);
  if (!object.contains("full_attention") && !object.contains("sliding_attention")) {
    ConfigReader entry(object, config.file(), key + ".");
    ReadEntry(config, entry, defaults, spec, spec.rope);
    return;
  }
  ConfigReader kinds(object, config.file(), key + ".");
  spec.local_rope = spec.rope;
  for (const auto& [kind, rope] : {std::pair{"full_attention", &spec.rope},
                                   std::pair{"sliding_attention", &spec.local_rope}}) {
    if (!kinds.Has(kind)) continue;
    ConfigReader entry(Object(kinds, kind), config.file(), key + "." + kind + ".");
    ReadEntry(config, entry, defaults, spec, *rope);
  }
  config.Adopt(kinds.status());
}

}  // namespace tessera::shard_loader
