// The whole command line of `tessera`.
#ifndef TESSERA_CLIENT_CLI_APP_H_
#define TESSERA_CLIENT_CLI_APP_H_

#include <string>
#include <vector>

#include "client/cli/context.h"

namespace tessera::client {

// Runs `tessera` with these arguments (without the program's name); returns the exit code.
int RunTessera(std::vector<std::string> arguments, Context& context);

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_CLI_APP_H_
