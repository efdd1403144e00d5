// What a process holds: its children, descriptors, sockets and memory.
#ifndef TESSERA_TESTS_FAULT_WALK_RESOURCES_H_
#define TESSERA_TESTS_FAULT_WALK_RESOURCES_H_

#include <sys/types.h>

#include <cstdint>
#include <vector>

namespace tessera::tests {

// Ascending; those that have ended and wait to be collected are left out.
std::vector<pid_t> ChildrenOf(pid_t parent);

struct Resources {
  size_t children = 0;
  size_t threads = 0;
  size_t descriptors = 0;
  size_t sockets = 0;      // among them
  uint64_t memory_kb = 0;  // private: what the process does not share with its workers
};

Resources ResourcesOf(pid_t process);

}  // namespace tessera::tests

#endif  // TESSERA_TESTS_FAULT_WALK_RESOURCES_H_
