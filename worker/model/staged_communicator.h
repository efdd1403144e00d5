// Exchanges of a device's memory over a communicator that knows only the host's.
#ifndef TESSERA_WORKER_MODEL_STAGED_COMMUNICATOR_H_
#define TESSERA_WORKER_MODEL_STAGED_COMMUNICATOR_H_

#include <memory>

#include "worker/comm/communicator.h"
#include "worker/tensor/memory.h"

namespace tessera::worker {

// Spans are those of `memory`: every call waits for the device, copies, exchanges on the host and
// copies back. Correct over any communicator, and as slow as that. Both are borrowed.
std::unique_ptr<Communicator> StageThroughHost(Communicator* host, Memory* memory);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_MODEL_STAGED_COMMUNICATOR_H_
