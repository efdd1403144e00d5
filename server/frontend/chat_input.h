// A conversation as the chat template takes it.
#ifndef TESSERA_SERVER_FRONTEND_CHAT_INPUT_H_
#define TESSERA_SERVER_FRONTEND_CHAT_INPUT_H_

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/frontend/served_model.h"
#include "server/text/chat_template.h"
#include "tessera/v1/inference.pb.h"

namespace tessera::server {

// The parts of ChatRequest and ApplyChatTemplateRequest that the template sees; borrowed.
struct Conversation {
  const google::protobuf::RepeatedPtrField<v1::ChatMessage>* messages = nullptr;
  const google::protobuf::RepeatedPtrField<std::string>* tools_json = nullptr;
  const std::string* kwargs_json = nullptr;
  bool add_generation_prompt = true;
};

// INVALID_ARGUMENT naming the field: no messages, no role, text that is not UTF-8 or too long, JSON
// that is none or nests too deep. `now`: what strftime_now of a template sees.
absl::StatusOr<ChatTemplate::Input> MakeChatInput(const Conversation& conversation,
                                                  const ServedModel& model, absl::Time now);

}  // namespace tessera::server

#endif  // TESSERA_SERVER_FRONTEND_CHAT_INPUT_H_
