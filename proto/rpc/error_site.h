// Where in a group an error arose: it travels with the status.
#ifndef TESSERA_PROTO_RPC_ERROR_SITE_H_
#define TESSERA_PROTO_RPC_ERROR_SITE_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"

namespace tessera::rpc {

struct ErrorSite {
  std::optional<uint32_t> rank;
  std::string file;   // of our sources; empty: not known
  uint32_t line = 0;  // in it
};

// Adds a google.rpc.ErrorInfo with domain "tessera", reason "RANK_FAILED", and the metadata rank,
// file and line as far as they are known. A former one is replaced. An OK status is left alone.
void SetErrorSite(absl::Status& status, const ErrorSite& site);

// What SetErrorSite has set; empty fields where there is none.
ErrorSite GetErrorSite(const absl::Status& status);

}  // namespace tessera::rpc

#endif  // TESSERA_PROTO_RPC_ERROR_SITE_H_
