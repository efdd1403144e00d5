// The command line, the configuration file and the TESSERA_* variables, as options.
#ifndef TESSERA_SERVER_APP_FLAGS_H_
#define TESSERA_SERVER_APP_FLAGS_H_

#include <string>
#include <variant>

#include "server/app/server_options.h"

namespace tessera::server {

// The command line said it all (--help, --version), or is wrong.
struct FlagsExit {
  int code = 0;
  std::string text;  // for standard output where the code is 0, else for standard error
};

// `--kernels list`: tessera-worker is to answer.
struct ListKernels {};

// Reads the flags; what they leave out is taken from --config, then from the environment.
std::variant<ServerOptions, FlagsExit, ListKernels> ParseFlags(int argc, const char* const* argv);

}  // namespace tessera::server

#endif  // TESSERA_SERVER_APP_FLAGS_H_
