// What a device's mixture of experts must hold, on a device or emulated.
#ifndef TESSERA_TESTS_CONFORMANCE_CUDA_MIXTURE_CASES_H_
#define TESSERA_TESTS_CONFORMANCE_CUDA_MIXTURE_CASES_H_

#include "tests/conformance/cuda/device_backend.h"

namespace tessera::tests {

// The experts and weights that worker/model's router chooses, bit for bit: of random logits with
// ties, infinities and NaNs, by every rule of a MoeSpec.
void ChoicesAreTheRouters(worker::Backend& device, int seeds);
// The sums of the rank's lanes: those of the device's own products of one expert after the other,
// bit for bit, of every format, of few rows and of many.
void SumsOfExpertsAreThoseOfOneAtATime(DeviceBackend& device, bool narrows);

}  // namespace tessera::tests

#endif  // TESSERA_TESTS_CONFORMANCE_CUDA_MIXTURE_CASES_H_
