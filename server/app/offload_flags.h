// The flags of --kv-offload: where evicted KV blocks go.
#ifndef TESSERA_SERVER_APP_OFFLOAD_FLAGS_H_
#define TESSERA_SERVER_APP_OFFLOAD_FLAGS_H_

#include <string>

#include <CLI/CLI.hpp>

#include "server/app/server_options.h"

namespace tessera::server {

struct OffloadFlags {
  std::string size;    // as written; empty: none
  std::string folder;  // empty: in memory
};

void AddOffloadFlags(CLI::App& app, const std::string& group, OffloadFlags& flags);

// Fills what they mean, or says what is wrong with them. Where the ranks are on this host it makes
// a file in the folder, without a name, to see whether they can; remote ones say so as they load.
std::string ResolveOffload(const OffloadFlags& flags, ServerOptions& options);

}  // namespace tessera::server

#endif  // TESSERA_SERVER_APP_OFFLOAD_FLAGS_H_
