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
  // `context_length` is that of the deployment: it decides where spec.DependsOnContext().
  Rope(const shard_loader::RopeSpec& spec, int64_t rotary_size, int64_t context_length = 0);

  // cosines, sines: [num_rows, rotary_size / 2]
  void FillAngles(const int32_t* positions, int64_t num_rows, float* cosines, float* sines) const;

  // Radians per position. [rotary_size / 2]
  const std::vector<float>& frequencies() const { return frequencies_; }
  // Of cosines and sines.
  float attention_factor() const { return attention_factor_; }
  // Of the scale of the scores.
  float score_factor() const { return score_factor_; }

 private:
  std::vector<float> frequencies_;
  float attention_factor_ = 1.0f;
  float score_factor_ = 1.0f;
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_MODEL_ROPE_H_
