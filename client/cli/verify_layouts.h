// The ways in which `tessera verify` has a model computed.
#ifndef TESSERA_CLIENT_CLI_VERIFY_LAYOUTS_H_
#define TESSERA_CLIENT_CLI_VERIFY_LAYOUTS_H_

#include <cstdint>
#include <string>
#include <vector>

namespace tessera::client {

struct VerifyLayout {
  std::string name;                // "tp=2"
  std::vector<std::string> flags;  // of the server, beside those of all
  bool at_once = false;            // all questions together, not one after the other
  int times = 1;                   // that they are asked
  int kills = 0;                   // workers that are killed meanwhile
  std::vector<std::string> environment;
  // Where another layout of the same kind may be impossible for this model, the server's refusal
  // leaves it out; else it is a failure.
  bool may_be_refused = false;
  bool slow = false;  // only where it is asked for
};

// What decides which layouts there are.
struct VerifyPlan {
  int max_tp = 8;
  int max_pp = 4;
  uint64_t longest = 0;  // tokens of the longest question with its answer
  uint64_t questions = 0;
  std::vector<std::string> kernels;  // that give the same bits here
  bool prefix_cache = false;         // the server has --no-prefix-cache
  std::string draft;                 // a model for speculation; empty: none
};

// One rank, one thread, one question at a time: what all others are compared with.
VerifyLayout ReferenceLayout();
std::vector<VerifyLayout> Layouts(const VerifyPlan& plan);

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_CLI_VERIFY_LAYOUTS_H_
