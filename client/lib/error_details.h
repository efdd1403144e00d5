// What an error of the client library says beyond its code and message.
#ifndef TESSERA_CLIENT_LIB_ERROR_DETAILS_H_
#define TESSERA_CLIENT_LIB_ERROR_DETAILS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace tessera::client {

struct ErrorDetails {
  std::string field;  // dotted path of the request's field that is wrong; empty: none named
  absl::Duration retry_after = absl::ZeroDuration();  // zero: the server gave no hint
  bool unreachable = false;  // nobody answered: Connect failed, or the connection was lost
};

ErrorDetails DetailsOf(const absl::Status& status);

// Marks `status` as "nobody answered" for DetailsOf.
absl::Status Unreachable(absl::Status status);

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_LIB_ERROR_DETAILS_H_
