// The CPUs that threads run on.
#ifndef TESSERA_WORKER_TENSOR_CPUS_H_
#define TESSERA_WORKER_TENSOR_CPUS_H_

#include <vector>

namespace tessera::worker {

// Those that this process may run on, ascending.
std::vector<int> AllowedCpus();
// Their number; at least 1.
int AvailableCpus();

// Keeps the calling thread on one CPU; left where it is when the system refuses.
void PinThisThread(int cpu);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_TENSOR_CPUS_H_
