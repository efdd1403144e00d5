// A backend over the kernels of one instruction set and a pool of threads.
#ifndef TESSERA_WORKER_BACKEND_CPU_CPU_BACKEND_H_
#define TESSERA_WORKER_BACKEND_CPU_CPU_BACKEND_H_

#include <memory>
#include <vector>

#include "worker/backend/backend.h"
#include "worker/backend/cpu/kernels.h"

namespace tessera::worker {

// Threads split outputs: rows, tiles, heads or blocks. `kernels` is one of the constants of
// kernels.h, and this machine must run it; `pairs` and `codes` are null, or take its place for
// products with matrices in bf16 and with coded ones.
std::unique_ptr<Backend> MakeCpuBackend(const CpuKernels& kernels, const DotKernels* pairs,
                                        const DotKernels* codes, int threads,
                                        const std::vector<int>& cpus);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_BACKEND_CPU_CPU_BACKEND_H_
