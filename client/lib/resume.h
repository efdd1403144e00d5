// A stream of answers that outlives its server. Internal to client/lib.
#ifndef TESSERA_CLIENT_LIB_RESUME_H_
#define TESSERA_CLIENT_LIB_RESUME_H_

#include <functional>
#include <memory>

#include "client/lib/request.h"
#include "client/lib/response.h"
#include "client/lib/stream.h"

namespace tessera::client {

using GenerateStreamPtr = std::unique_ptr<Stream<GenerateEvent>>;

struct ResumingCalls {
  // The call as it was meant, with these options in place of the caller's.
  std::function<GenerateStreamPtr(const CallOptions&)> first;
  // Goes on with it once the ids of its prompt are known.
  std::function<GenerateStreamPtr(const GenerateOptions&)> again;
};

// Where the connection breaks, or the server says UNAVAILABLE, the call is made again until
// options.resume_timeout is over, and goes on behind the last event that was handed out: one
// sequence with continue_from and the seed of Accepted; several, or one that had no token yet, from
// their beginning, with that seed, without what was handed out before. What comes again is
// compared: FAILED_PRECONDITION where the server now has other weights or another numerics id,
// DATA_LOSS where it answers otherwise.
GenerateStreamPtr MakeResumingStream(const CallOptions& options, ResumingCalls calls);

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_LIB_RESUME_H_
