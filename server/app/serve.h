// A server from its options to its end.
#ifndef TESSERA_SERVER_APP_SERVE_H_
#define TESSERA_SERVER_APP_SERVE_H_

#include "server/app/end_request.h"
#include "server/app/server_options.h"

namespace tessera::server {

// Serves until it is told to end, and returns the exit code. BlockEndSignals has been called.
int Serve(ServerOptions options);

}  // namespace tessera::server

#endif  // TESSERA_SERVER_APP_SERVE_H_
