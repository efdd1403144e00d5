// Every operation as its definition reads, in plain loops: what other backends are compared with.
#ifndef TESSERA_WORKER_BACKEND_REFERENCE_REFERENCE_BACKEND_H_
#define TESSERA_WORKER_BACKEND_REFERENCE_REFERENCE_BACKEND_H_

#include <memory>

#include "worker/backend/backend.h"

namespace tessera::worker {

// One thread. Sums are in double and narrowed to fp32 once for each lane; functions are libm's: its
// bits are its own numerics, and may differ between machines.
std::unique_ptr<Backend> MakeReferenceBackend();

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_BACKEND_REFERENCE_REFERENCE_BACKEND_H_
