// What coding the matrices of a checkpoint would cost, weight by weight: `tessera inspect
// --quantize`.
#ifndef TESSERA_WORKER_MODEL_CODING_ERRORS_H_
#define TESSERA_WORKER_MODEL_CODING_ERRORS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "shard_loader/load/checkpoint.h"
#include "shard_loader/plan/weight_format.h"

namespace tessera::worker {

// Of elements w, and the numbers q that their codes stand for.
struct CodingError {
  std::string name;    // of the weight (shard_loader's TensorName)
  std::string format;  // that it would be held in
  bool taken = false;  // blocks of the checkpoint that are held as they are
  int64_t elements = 0;
  double largest = 0;         // |w - q|; NaN where a weight is no finite number
  double squares = 0;         // sum of (w - q)^2
  double weight_squares = 0;  // sum of w^2

  double rms() const;       // of w - q
  double relative() const;  // |w - q| / |w| in the 2-norm; 0 where all is zero
};

struct CodingErrors {
  std::vector<CodingError> weights;  // coded ones, in the order of the model
  CodingError total;                 // of all of them together
};

// Codes every matrix as a rank that holds all of it would, blocks that `format` holds
// (shard_loader's FormatFor) being taken over as they are: errors are against what the checkpoint's
// own blocks stand for. Reads the checkpoint once with so many threads, holding a few rows at a
// time. INVALID_ARGUMENT for a format without codes.
absl::StatusOr<CodingErrors> MeasureCoding(const shard_loader::Checkpoint& checkpoint,
                                           const shard_loader::WeightFormat& format, int threads);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_MODEL_CODING_ERRORS_H_
