// Runs mpirun for a server: mpirun watches neither its parent nor, when it crashes, its files.
#ifndef TESSERA_WORKER_APP_LAUNCHER_H_
#define TESSERA_WORKER_APP_LAUNCHER_H_

#include <string>

namespace tessera::worker {

struct LauncherOptions {
  int parent_fd = -1;  // reads end-of-file when the server has ended
  std::string folder;  // removed with what is in it when the program has ended
};

// Starts the program `arguments[0]` (a null ends the list) and returns its exit code, 128 + N where
// signal N ended it. SIGTERM, and the server's end, are passed on to it as SIGTERM, and as SIGKILL
// where it has not ended some seconds later. To be called from the first thread.
int Launch(const LauncherOptions& options, char** arguments);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_APP_LAUNCHER_H_
