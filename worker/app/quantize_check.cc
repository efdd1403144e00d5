#include "worker/app/quantize_check.h"

#include "absl/strings/str_cat.h"
#include "shard_loader/load/block_format.h"
#include "shard_loader/load/checkpoint.h"
#include "shard_loader/plan/weight_format.h"
#include "shard_loader/status_macros.h"
#include "worker/model/coding_errors.h"

namespace tessera::worker {
namespace {

nlohmann::json ErrorJson(const CodingError& error) {
  return {{"name", error.name},          {"format", error.format}, {"elements", error.elements},
          {"as_stored", error.taken},    {"max", error.largest},   {"rms", error.rms()},
          {"relative", error.relative()}};
}

}  // namespace

absl::StatusOr<nlohmann::json> QuantizeJson(const QuantizeOptions& options) {
  const absl::Status unknown = absl::InvalidArgumentError(absl::StrCat(
      "--quantize ", options.quantize, ": give int8 or int4, with groups as in int4-g128"));
  if (!shard_loader::ParseWeightFormat(options.quantize)) return unknown;
  ASSIGN_OR_RETURN(auto checkpoint,
                   shard_loader::Checkpoint::Open(options.model, {.format = options.format}));
  // As --dtype of this checkpoint.
  const auto format = shard_loader::FormatFor(*checkpoint, options.quantize);
  if (!format) return unknown;
  ASSIGN_OR_RETURN(const CodingErrors errors, MeasureCoding(*checkpoint, *format, options.threads));
  nlohmann::json weights = nlohmann::json::array();
  for (const CodingError& error : errors.weights) weights.push_back(ErrorJson(error));
  return nlohmann::json{{"format", errors.total.format},
                        {"weights", std::move(weights)},
                        {"total", ErrorJson(errors.total)}};
}

}  // namespace tessera::worker
