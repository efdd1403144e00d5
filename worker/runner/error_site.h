// Where an error of a step arose: it travels with the status to the frontend.
#ifndef TESSERA_WORKER_RUNNER_ERROR_SITE_H_
#define TESSERA_WORKER_RUNNER_ERROR_SITE_H_

#include <cstdint>
#include <source_location>
#include <string>

#include "absl/status/status.h"

namespace tessera::worker {

// Notes the line that calls it, unless one nearer to the cause is noted already.
absl::Status At(absl::Status status, std::source_location site = std::source_location::current());

struct ErrorSite {
  std::string file;  // from the top of the tree; empty: not known
  uint32_t line = 0;
};
ErrorSite SiteOf(const absl::Status& status);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_RUNNER_ERROR_SITE_H_
