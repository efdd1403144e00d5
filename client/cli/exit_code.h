// What the exit code of `tessera` says; the list is part of its --help.
#ifndef TESSERA_CLIENT_CLI_EXIT_CODE_H_
#define TESSERA_CLIENT_CLI_EXIT_CODE_H_

namespace tessera::client {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;       // the request, the check or the file failed
inline constexpr int kExitUsage = 2;        // the command line is wrong
inline constexpr int kExitUnreachable = 3;  // no server answered
inline constexpr int kExitInterrupted = 130;

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_CLI_EXIT_CODE_H_
