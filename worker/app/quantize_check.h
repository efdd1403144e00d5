// What --dtype int8 or int4 would cost a checkpoint, for `tessera inspect --quantize`.
#ifndef TESSERA_WORKER_APP_QUANTIZE_CHECK_H_
#define TESSERA_WORKER_APP_QUANTIZE_CHECK_H_

#include <string>

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"

namespace tessera::worker {

struct QuantizeOptions {
  std::string quantize;  // the format, as --dtype names it
  std::string model;     // folder of the checkpoint
  std::string format;    // to read it as; empty: the first one that it holds
  int threads = 1;
};

// {"format", "weights": [{"name", "format", "elements", "max", "rms", "relative"}], "total":
// {...}}, where "max" and "rms" are of |w - q| and "relative" is |w - q| / |w| in the 2-norm
// (worker/model/coding_errors.h).
absl::StatusOr<nlohmann::json> QuantizeJson(const QuantizeOptions& options);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_APP_QUANTIZE_CHECK_H_
