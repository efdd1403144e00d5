// Streams of many kinds under a server whose workers' network is cut at random.
#ifndef TESSERA_TESTS_FAULT_WALK_CUT_WALK_H_
#define TESSERA_TESTS_FAULT_WALK_CUT_WALK_H_

#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/two_hosts.h"

namespace tessera::tests {

struct CutWalkOptions {
  std::vector<std::string> layout;      // flags of the server, which is on the first host
  std::vector<TwoHosts::Host> workers;  // where each rank is
  // Another replica is on the first host alone: it takes the streams of the one that is cut off.
  bool spared = false;
  int cuts = 0;
  int streams = 32;
  uint64_t seed = 1;
};

// As WalkAndCheck (kill_walk.h), with cuts of the wire between two hosts: at either end, in
// prefill, in decode, while the group is being made again; most for so long that the group is lost,
// some too short for that. Skipped where the system makes no network namespaces.
//
// A stream should stand still for no more than the step timeout, in which the loss is noticed, and
// a second, each time that it is cut off. Where no replica is spared that is without the time for
// which the wire stayed cut after the loss was noticed: nothing can go on then. That is printed;
// what is checked is a hang limit, for machines that are busy.
void CutAndCheck(const CutWalkOptions& options);

}  // namespace tessera::tests

#endif  // TESSERA_TESTS_FAULT_WALK_CUT_WALK_H_
