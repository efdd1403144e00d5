// Who listens on a TCP port of this host.
#ifndef TESSERA_SERVER_APP_PORT_HOLDER_H_
#define TESSERA_SERVER_APP_PORT_HOLDER_H_

#include <string>

namespace tessera::server {

// "process 1234 (tessera-server)", from /proc/net and /proc/PID/fd (proc(5)); "another user's
// process" where its files cannot be read; empty where nobody listens.
std::string FindPortHolder(int port);

}  // namespace tessera::server

#endif  // TESSERA_SERVER_APP_PORT_HOLDER_H_
