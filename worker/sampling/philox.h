// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a random
// number that is a function of its key and counter alone, so that a replay draws the same.
#ifndef TESSERA_WORKER_SAMPLING_PHILOX_H_
#define TESSERA_WORKER_SAMPLING_PHILOX_H_

#include <array>
#include <cstdint>

namespace tessera::worker {

std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// Uniform in [0, 1), a multiple of 2^-53. Key: the seed. Counter: the position of the token that is
// drawn, then the sequence's index in its request.
double PhiloxUniform(uint64_t seed, uint32_t sequence_index, uint64_t position);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_SAMPLING_PHILOX_H_
