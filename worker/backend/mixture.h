// Mixtures of experts where the rows of a step lie, for memory that the host does not read: which
// experts a row goes to, what they make of it, and how that is added up, to the bits of
// worker/model's router.cc and experts.cc (worker/README.md, rule 5), and with nothing between them
// that waits for the host. Pointers are the memory's, except where they are said to be the host's.
#ifndef TESSERA_WORKER_BACKEND_MIXTURE_H_
#define TESSERA_WORKER_BACKEND_MIXTURE_H_

#include <cstdint>

#include "shard_loader/model/decoder_spec.h"
#include "shard_loader/plan/lanes.h"
#include "worker/backend/ops.h"

namespace tessera::worker {

// Matrices of one shape and format that lie at equal distances, one for each expert of the rank.
struct ExpertMatrices {
  PackedMatrix first;
  int64_t stride = 0;           // bytes from one to the next
  const float* bias = nullptr;  // [first.rows] of the first, or null
  int64_t bias_stride = 0;      // floats
};

struct RouteArgs {
  const shard_loader::MoeSpec* moe = nullptr;  // the host's
  int64_t step_rows = 0;                       // of the whole step
  int64_t first_row = 0;                       // of the step: those whose experts are chosen
  int64_t num_rows = 0;
  const float* logits = nullptr;      // [num_rows, experts of the model], with the router's bias
  const float* correction = nullptr;  // [experts of the model], or null
};

struct ExpertsArgs {
  const shard_loader::MoeSpec* moe = nullptr;  // the host's
  int64_t first_row = 0;                       // as Route had them
  int64_t num_rows = 0;
  const float* input = nullptr;  // [num_rows, hidden]
  shard_loader::Range experts;   // of the model's: those of the rank
  ExpertMatrices gate, up, down;
  shard_loader::Activation activation = shard_loader::Activation::kSilu;
  float activation_limit = 0;
  const SumLane* lanes = nullptr;  // the host's: of a product with `down`, a root each
  int64_t num_lanes = 0;
  // The host's, [experts of the rank]: the sum that the expert's only lane is added to; or null:
  // lane l is added to sum l.
  const int32_t* sum_of = nullptr;
  int64_t num_sums = 0;
  float* sums = nullptr;  // [num_sums][num_rows, hidden]: filled
  int64_t sum_stride = 0;
};

// Thread-compatible, like the backend whose it is.
class Mixture {
 public:
  virtual ~Mixture() = default;

  // Chooses every row's experts and weights, and keeps them until the step's next mixture. Rows
  // come in ascending parts.
  virtual void Route(const RouteArgs& args) = 0;
  // sums[s][r] = over the experts of row r that the rank has, ascending: their weighted outputs,
  // one fma for each, from zero.
  virtual void Run(const ExpertsArgs& args) = 0;
  // output[r] += for each expert of row r, ascending: weight * bias[expert], one fma for each.
  // bias: [experts of the model, size]; output: [num_rows, size], the whole step.
  virtual void AddBiases(const shard_loader::MoeSpec& moe, const float* bias, int64_t num_rows,
                         int64_t size, float* output) = 0;
  // output[r] += sigmoid(gates[r]) * input[r], as one fma. gates: [num_rows].
  virtual void AddGated(const float* gates, const float* input, int64_t num_rows, int64_t size,
                        float* output) = 0;
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_BACKEND_MIXTURE_H_
