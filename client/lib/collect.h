// A whole stream as one value, for callers that do not want it piece by piece.
#ifndef TESSERA_CLIENT_LIB_COLLECT_H_
#define TESSERA_CLIENT_LIB_COLLECT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/lib/response.h"
#include "client/lib/stream.h"

namespace tessera::client {

struct Sequence {
  std::string text;
  std::vector<uint32_t> token_ids;
  std::vector<TokenLogprobs> logprobs;
  Finished finished;
};

struct Completion {
  std::string request_id;
  Accepted accepted;
  std::vector<Sequence> sequences;  // by index
};

// Adds one event to `completion`. INTERNAL for an index that no server would send.
absl::Status Append(GenerateEvent event, Completion& completion);

// Reads `stream` to its end.
absl::StatusOr<Completion> Collect(Stream<GenerateEvent>& stream);

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_LIB_COLLECT_H_
