// The flags that `complete` and `chat` have in common.
#ifndef TESSERA_CLIENT_CLI_GENERATION_FLAGS_H_
#define TESSERA_CLIENT_CLI_GENERATION_FLAGS_H_

#include <CLI/App.hpp>

#include "client/lib/request.h"

namespace tessera::client {

// Flags write into `options`, which must live as long as `app`.
void AddGenerationFlags(CLI::App& app, CallOptions& options);

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_CLI_GENERATION_FLAGS_H_
