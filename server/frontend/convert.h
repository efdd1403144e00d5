// The engine's events and figures as messages of the public API.
#ifndef TESSERA_SERVER_FRONTEND_CONVERT_H_
#define TESSERA_SERVER_FRONTEND_CONVERT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/engine/engine.h"
#include "server/engine/request.h"
#include "server/executor/executor.h"
#include "server/metrics/counters.h"
#include "server/text/tokenizer.h"
#include "tessera/v1/admin.pb.h"
#include "tessera/v1/inference.pb.h"

namespace tessera::server {

// What the client of one request wants to see.
struct AnswerFormat {
  std::string request_id;
  bool token_ids = false;
  std::optional<uint32_t> logprobs;         // alternatives; absent: none at all
  std::optional<uint32_t> prompt_logprobs;  // likewise, in Accepted
  std::vector<uint32_t> prompt;             // where token_ids, prompt_logprobs or echo
  uint32_t n = 1;                           // answers
  std::optional<std::string> echo;          // the prompt as text, to stand before every answer
  const Tokenizer* tokenizer = nullptr;     // for the bytes of tokens
};

// The messages of an event, which is no absl::Status: none where a delta has nothing that the
// client wants; Accepted and the prompt's pieces where it is to be echoed.
std::vector<v1::GenerateResponse> ToResponses(const ResponseEvent& event,
                                              const AnswerFormat& format);

// Of one replica, or of several together.
v1::EngineFigures ToProto(const std::vector<const Counters*>& replicas, absl::Time now);
v1::GroupStatus ToProto(const GroupStatus& status);
v1::Loss ToProto(const LossRecord& loss);
v1::ServerStatus::State ToProto(const EngineCondition& condition,
                                const std::vector<GroupStatus>& groups);

}  // namespace tessera::server

#endif  // TESSERA_SERVER_FRONTEND_CONVERT_H_
