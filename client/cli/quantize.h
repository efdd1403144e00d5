// `tessera inspect --quantize`: what codes of 8 or 4 bits would cost a checkpoint.
#ifndef TESSERA_CLIENT_CLI_QUANTIZE_H_
#define TESSERA_CLIENT_CLI_QUANTIZE_H_

#include <string>

#include "client/cli/context.h"

namespace tessera::client {

struct QuantizeRequest {
  std::string dir;
  std::string format;    // to read the checkpoint as; empty: the first one that it holds
  std::string quantize;  // int8, int4, or with a group: int4:128, int4-g128
  bool json = false;
};

// Lets tessera-worker measure, and prints a table or its JSON. Returns the exit code.
int RunQuantize(const QuantizeRequest& request, const Context& context);

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_CLI_QUANTIZE_H_
