// What every Communicator must do, told from one rank: the suite that all transports run.
#ifndef TESSERA_TESTS_CONFORMANCE_COMM_CASES_H_
#define TESSERA_TESTS_CONFORMANCE_COMM_CASES_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "worker/comm/group_comms.h"

namespace tessera::tests {

struct CommCase {
  std::string name;  // a word, for the command line of tests
  std::string sentence;
  // Run by every rank at once; not OK: what went wrong.
  absl::Status (*run)(worker::GroupComms& comms);
  bool breaks = false;  // the communicators, on purpose
};

// Cases in which every rank does its part.
const std::vector<CommCase>& CommCases();

// What a failing group must report; each is run by all ranks, and has its own set-up in the test.
namespace failing {

// `absent` makes no call: every other rank is told DEADLINE_EXCEEDED with its name, from a
// collective and, for that rank's neighbour, from then on.
absl::Status AbsentRank(worker::GroupComms& comms, int absent);
// The rank `gone` has ended: every other is told UNAVAILABLE with its name.
absl::Status GoneRank(worker::GroupComms& comms, int gone);

}  // namespace failing
}  // namespace tessera::tests

#endif  // TESSERA_TESTS_CONFORMANCE_COMM_CASES_H_
