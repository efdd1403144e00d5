// The ways in which `tessera verify` has a model computed.
#ifndef TESSERA_CLIENT_CLI_VERIFY_LAYOUTS_H_
#define TESSERA_CLIENT_CLI_VERIFY_LAYOUTS_H_

#include <cstdint>
#include <string>
#include <vector>

namespace tessera::client {

struct VerifyLayout {
  std::string name;                // "tp=2"
  std::vector<std::string> flags;  // of the server; they replace equal ones of all servers
  bool at_once = false;            // all questions together, not one after the other
  int times = 1;                   // that they are asked
  int kills = 0;                   // workers that are killed meanwhile
  std::vector<std::string> environment;
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
  bool keeps_evicted = false;        // the server has --kv-offload
  bool guesses = false;              // the server has --speculate
  std::string draft;                 // a model for speculation; empty: none
};

// One rank, one thread, one question at a time: what all others are compared with.
VerifyLayout ReferenceLayout();
std::vector<VerifyLayout> Layouts(const VerifyPlan& plan);
// `common` without the flags that the layout sets, and then those.
std::vector<std::string> ServerFlags(const std::vector<std::string>& common,
                                     const VerifyLayout& layout);

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_CLI_VERIFY_LAYOUTS_H_
