// Where packed weights are cached.
#ifndef TESSERA_WORKER_APP_CACHE_FOLDER_H_
#define TESSERA_WORKER_APP_CACHE_FOLDER_H_

#include <string>

namespace tessera::worker {

// The folder that a flag asks for: "none" is none, and without the flag it is `tessera` in the
// user's cache folder ($XDG_CACHE_HOME, or ~/.cache); empty where there is no such.
std::string CacheFolder(const std::string& flag);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_APP_CACHE_FOLDER_H_
