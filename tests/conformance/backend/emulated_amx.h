// worker/backend/cpu's products in the tiles of AMX, on emulated tiles. The CPU needs AVX-512 with
// BF16.
#ifndef TESSERA_TESTS_CONFORMANCE_BACKEND_EMULATED_AMX_H_
#define TESSERA_TESTS_CONFORMANCE_BACKEND_EMULATED_AMX_H_

#include "worker/backend/cpu/kernels.h"

namespace tessera::worker {

extern const DotKernels kEmulatedAmxKernels;

}  // namespace tessera::worker

#endif  // TESSERA_TESTS_CONFORMANCE_BACKEND_EMULATED_AMX_H_
