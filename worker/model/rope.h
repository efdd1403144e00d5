// Angles of rotary position embedding.
#ifndef TESSERA_WORKER_MODEL_ROPE_H_
#define TESSERA_WORKER_MODEL_ROPE_H_

#include <cstdint>
#include <vector>

#include "shard_loader/model/decoder_spec.h"

namespace tessera::worker {

// Frequencies are rounded to fp32, an angle is the fp32 product of position and frequency, as in
// the reference implementation (Hugging Face's modeling_rope_utils.py); powers, sines and cosines
// are computed in double by our own polynomials, so that bits do not depend on the machine.
// Immutable, thread-safe.
class Rope {
 public:
  Rope(const shard_loader::RopeSpec& spec, int64_t head_size);

  // cosines, sines: [num_rows, head_size / 2]
  void FillAngles(const int32_t* positions, int64_t num_rows, float* cosines, float* sines) const;

  // Radians per position. [head_size / 2]
  const std::vector<float>& frequencies() const { return frequencies_; }

 private:
  std::vector<float> frequencies_;
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_MODEL_ROPE_H_
