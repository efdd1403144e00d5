// Whole models on a device's backend, on a device or emulated.
#ifndef TESSERA_TESTS_GOLDEN_CUDA_ANSWERS_H_
#define TESSERA_TESTS_GOLDEN_CUDA_ANSWERS_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "shard_loader/plan/kv_format.h"
#include "shard_loader/plan/weight_format.h"
#include "worker/backend/backend.h"

namespace tessera::tests {

using BackendMaker = std::function<absl::StatusOr<std::unique_ptr<worker::Backend>>()>;

struct Degrees {
  int tp = 1;
  int pp = 1;
  int lanes = 8;
};

// In the exact order, or with coded weights: the answers of the CPU's kernels, bit for bit.
void AnswersAreTheCpus(const BackendMaker& exact, const std::string& model, Degrees degrees,
                       const shard_loader::WeightFormat& format = {},
                       const shard_loader::KvFormat& cache = {});
// `allocations` counts what was taken of the device's memory so far.
void StepsAllocateNothing(const BackendMaker& maker, const std::string& model,
                          const std::function<int64_t()>& allocations);
// In bf16: the same bits at all degrees, in chunks of other lengths and in a batch of other
// sequences.
void AnswersStandAlone(const BackendMaker& wide, const std::string& model,
                       const std::vector<Degrees>& degrees);
// The same answers where every step is computed before the tokens of the one before are known.
void AnswersMayLag(const BackendMaker& maker, const std::string& model);
// In the exact order: guessed tokens, from the text or by the model itself as its draft, give the
// CPU's answers without guesses, in fewer steps.
void GuessesChangeNothing(const BackendMaker& exact, const std::string& model);
// In fp32: the reference implementation's greedy tokens.
void AnswersAreGolden(const BackendMaker& backend, const std::string& model);

}  // namespace tessera::tests

#endif  // TESSERA_TESTS_GOLDEN_CUDA_ANSWERS_H_
