// Slopes of attention with linear biases (ALiBi).
#ifndef TESSERA_WORKER_MODEL_SLOPES_H_
#define TESSERA_WORKER_MODEL_SLOPES_H_

#include <vector>

#include "shard_loader/model/decoder_spec.h"

namespace tessera::worker {

// One for each head of the model: powers of 2^(-max / n) for n the largest power of two up to the
// heads, and the odd powers of its square root for those left (Press et al., arXiv:2108.12409, and
// their code for other numbers of heads).
std::vector<float> AlibiSlopes(const shard_loader::AttentionSpec& attention);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_MODEL_SLOPES_H_
