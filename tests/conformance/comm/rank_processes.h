// Starts the ranks of a group as processes (comm_rank) and collects how they ended.
#ifndef TESSERA_TESTS_CONFORMANCE_COMM_RANK_PROCESSES_H_
#define TESSERA_TESTS_CONFORMANCE_COMM_RANK_PROCESSES_H_

#include <string>
#include <vector>

namespace tessera::tests {

struct GroupRun {
  std::string kind;
  int tp = 2;
  int pp = 1;
  int timeout_ms = 60000;
  std::string test;       // a name of CommCases(), or "stopped", "killed", "leaves", "nothing"
  int start = -1;         // ranks to start; -1: all
  int victim = -1;        // a rank that may end in any way; stopped ones are killed at the end
  std::string interface;  // of gloo
};

struct GroupResult {
  bool ok = false;     // every rank but the victim ended well, within 100 seconds
  std::string output;  // of all ranks
};

GroupResult RunGroup(const GroupRun& run);

// The same under mpirun, which starts all ranks.
GroupResult RunWithMpirun(const GroupRun& run);

}  // namespace tessera::tests

#endif  // TESSERA_TESTS_CONFORMANCE_COMM_RANK_PROCESSES_H_
