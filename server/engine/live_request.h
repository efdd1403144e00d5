// A request that lives, with all that is known of it but what its workers know.
#ifndef TESSERA_SERVER_ENGINE_LIVE_REQUEST_H_
#define TESSERA_SERVER_ENGINE_LIVE_REQUEST_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "server/engine/request.h"
#include "server/engine/response_stream.h"
#include "server/engine/sequence_group.h"

namespace tessera::server {

struct LiveRequest {
  std::shared_ptr<ResponseStream> stream;  // shared with its reader
  std::optional<Request> request;          // until the group's facts are known
  std::unique_ptr<SequenceGroup> group;    // from then on
  absl::Time arrival;
  absl::Time deadline;
  bool queued = true;                     // it has not been in any step
  std::pair<std::string, int32_t> queue;  // tenant and priority
  uint64_t queued_tokens = 0;
  bool accepted = false;                              // AcceptedEvent sent
  std::vector<std::optional<absl::Time>> last_token;  // when it came, by index of the answer
  std::optional<absl::Time> paused_since;             // its reader is slow
  absl::Time wake = absl::InfiniteFuture();           // when it has to be looked at
  std::optional<uint32_t> cached_tokens;              // of the prompt, when it was first admitted
};

// What a group has free, or a request needs.
struct Room {
  uint32_t sequences = 0;
  uint32_t blocks = 0;

  bool Holds(const Room& need) const {
    return need.sequences <= sequences && need.blocks <= blocks;
  }
  void Take(const Room& part) {
    sequences -= part.sequences < sequences ? part.sequences : sequences;
    blocks -= part.blocks < blocks ? part.blocks : blocks;
  }
  void Add(const Room& part) {
    sequences += part.sequences;
    blocks += part.blocks;
  }
};

// A request that looks for another replica.
struct MoveOffer {
  Room need;
  bool urgent = false;  // it has waited so long that it goes where there is no room, too
  const Request* request = nullptr;  // borrowed; stays as it is until the offer is answered
};

// On its way from one replica to another.
struct MovedRequest {
  uint64_t key = 0;
  uint32_t deaths = 0;  // of groups that it was in a step of, with no token since
  std::unique_ptr<LiveRequest> live;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_ENGINE_LIVE_REQUEST_H_
