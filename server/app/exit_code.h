// What the exit code of tessera-server says; the list is part of its --help.
#ifndef TESSERA_SERVER_APP_EXIT_CODE_H_
#define TESSERA_SERVER_APP_EXIT_CODE_H_

namespace tessera::server {

inline constexpr int kExitDrained = 0;
inline constexpr int kExitFailed = 1;  // the model cannot be served, or the port not be listened on
inline constexpr int kExitUsage = 2;   // the flags or the configuration file are wrong

}  // namespace tessera::server

#endif  // TESSERA_SERVER_APP_EXIT_CODE_H_
