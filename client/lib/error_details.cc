#include "client/lib/error_details.h"

#include "absl/strings/cord.h"
#include "proto/rpc/status.h"

namespace tessera::client {
namespace {
constexpr char kUnreachable[] = "tessera.client/unreachable";
}  // namespace

ErrorDetails DetailsOf(const absl::Status& status) {
  return {.field = rpc::FieldViolation(status),
          .retry_after = rpc::RetryDelay(status),
          .unreachable = status.GetPayload(kUnreachable).has_value()};
}

absl::Status Unreachable(absl::Status status) {
  status.SetPayload(kUnreachable, absl::Cord("1"));
  return status;
}

}  // namespace tessera::client
