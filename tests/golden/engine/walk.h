// A seeded random walk over everything that an answer may not depend on.
#ifndef TESSERA_TESTS_GOLDEN_ENGINE_WALK_H_
#define TESSERA_TESTS_GOLDEN_ENGINE_WALK_H_

#include <cstdint>

namespace tessera::tests {

// Serves the same requests in `steps` random ways, and compares every answer with the lone one's.
// A failure shows the seed and the way.
void Walk(uint64_t seed, int steps);

}  // namespace tessera::tests

#endif  // TESSERA_TESTS_GOLDEN_ENGINE_WALK_H_
