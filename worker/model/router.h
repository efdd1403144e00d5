// Which experts a token goes to, and with which weights (worker/README.md, rule 5).
#ifndef TESSERA_WORKER_MODEL_ROUTER_H_
#define TESSERA_WORKER_MODEL_ROUTER_H_

#include <cstdint>
#include <vector>

#include "shard_loader/model/decoder_spec.h"

namespace tessera::worker {

struct ExpertChoice {
  int32_t expert = 0;
  float weight = 0;
};

// Computed in double by our own exp, so that bits do not depend on the machine; equal scores go to
// the lower id. logits: [experts], with the router's bias. correction: [experts], or null.
// Ascending by expert; where a logit is NaN, so are all weights.
std::vector<ExpertChoice> ChooseExperts(const shard_loader::MoeSpec& moe, const float* logits,
                                        const float* correction);

// 1 / (1 + e^-x).
float Sigmoid(float x);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_MODEL_ROUTER_H_
