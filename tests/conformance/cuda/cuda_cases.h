// What the device's kernels must hold, on a device or emulated.
#ifndef TESSERA_TESTS_CONFORMANCE_CUDA_CUDA_CASES_H_
#define TESSERA_TESTS_CONFORMANCE_CUDA_CUDA_CASES_H_

#include "worker/backend/backend.h"

namespace tessera::tests {

// `exact`: a backend of the set "cuda-exact"; `wide`: one of the set "cuda".
void ExactOrderIsTheCpus(worker::Backend& exact, int seeds);
void ProductsAreTheReferences(worker::Backend& wide);
void RowsOfProductsStandAlone(worker::Backend& wide);
void AttentionIsTheReferences(worker::Backend& wide);
void RowsOfAttentionStandAlone(worker::Backend& wide);

}  // namespace tessera::tests

#endif  // TESSERA_TESTS_CONFORMANCE_CUDA_CUDA_CASES_H_
