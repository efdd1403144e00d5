// What this machine lets a process use of its processors.
#ifndef TESSERA_CLIENT_CLI_MACHINE_H_
#define TESSERA_CLIENT_CLI_MACHINE_H_

#include <filesystem>
#include <string>

namespace tessera::client {

struct Processors {
  std::string model;   // "" where /proc/cpuinfo does not name it
  int online = 0;      // of the machine
  int usable = 0;      // that this process may run on
  double quota = 0.0;  // processors' worth of time that its cgroups allow; 0: no limit
};

// `root` stands before /proc and /sys, for tests; `usable` is always this process's own.
Processors ReadProcessors(const std::filesystem::path& root = "/");

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_CLI_MACHINE_H_
