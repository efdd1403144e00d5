// How a sequence's tokens are drawn.
#ifndef TESSERA_WORKER_SAMPLING_PARAMS_H_
#define TESSERA_WORKER_SAMPLING_PARAMS_H_

#include <cstdint>

namespace tessera::worker {

struct SamplingParams {
  float temperature = 1.0f;  // 0: greedy
  int32_t top_k = 0;         // 0 or -1: off
  float top_p = 1.0f;
  float min_p = 0.0f;
  float typical_p = 1.0f;
  float repetition_penalty =
      1.0f;  // over prompt and generated tokens (Keskar et al., arXiv:1909.05858)
  float presence_penalty = 0.0f;   // over generated tokens, as OpenAI's API defines it
  float frequency_penalty = 0.0f;  // likewise
  uint64_t seed = 0;
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_SAMPLING_PARAMS_H_
