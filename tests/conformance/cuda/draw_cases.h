// What drawing on a device must hold, on a device or emulated.
#ifndef TESSERA_TESTS_CONFORMANCE_CUDA_DRAW_CASES_H_
#define TESSERA_TESTS_CONFORMANCE_CUDA_DRAW_CASES_H_

#include "worker/backend/backend.h"

namespace tessera::tests {

// `seeds` batches of rows with parameters of every kind: tokens, logprobs and ranks are those of
// worker/sampling's Sampler, bit for bit.
void DrawsAreTheSamplers(worker::Backend& device, int seeds);
// Room for one row's lists draws many rows, part by part; room for fewer draws none.
void DrawsFitTheirRoom(worker::Backend& device);

}  // namespace tessera::tests

#endif  // TESSERA_TESTS_CONFORMANCE_CUDA_DRAW_CASES_H_
