#include "server/frontend/chat_input.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "server/frontend/check_request.h"
#include "shard_loader/status_macros.h"

namespace tessera::server {
namespace {

using Json = nlohmann::ordered_json;

// Templates walk JSON recursively.
constexpr int kMaxDepth = 64;

// How deep a JSON text nests; brackets inside strings do not count.
int JsonDepth(std::string_view text) {
  int depth = 0, deepest = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (in_string) {
      if (text[i] == '\\') {
        ++i;  // what is escaped ends no string
      } else if (text[i] == '"') {
        in_string = false;
      }
    } else if (text[i] == '"') {
      in_string = true;
    } else if (text[i] == '{' || text[i] == '[') {
      deepest = std::max(deepest, ++depth);
    } else if (text[i] == '}' || text[i] == ']') {
      --depth;
    }
  }
  return deepest;
}

absl::StatusOr<Json> ParseObject(std::string_view field, std::string_view text) {
  if (JsonDepth(text) > kMaxDepth) {
    return FieldError(field, absl::StrCat(std::string(field), " nests deeper than ", kMaxDepth));
  }
  Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    return FieldError(field, absl::StrCat(std::string(field), " is not a JSON object"));
  }
  return json;
}

absl::StatusOr<Json> MakeToolCall(const std::string& field, const v1::ToolCall& call) {
  Json function = {{"name", call.name()}, {"arguments", Json::object()}};
  if (!call.arguments_json().empty()) {
    ASSIGN_OR_RETURN(function["arguments"],
                     ParseObject(field + ".arguments_json", call.arguments_json()));
  }
  Json out = {{"type", "function"}, {"function", std::move(function)}};
  if (!call.id().empty()) out["id"] = call.id();
  return out;
}

absl::StatusOr<Json> MakeMessage(const std::string& field, const v1::ChatMessage& message,
                                 const ServedModel& model) {
  if (message.role().empty()) return FieldError(field + ".role", field + ".role is empty");
  RETURN_IF_ERROR(CheckText(field + ".content", message.content(), model));
  Json out = {{"role", message.role()}, {"content", message.content()}};
  if (!message.name().empty()) out["name"] = message.name();
  if (!message.tool_call_id().empty()) out["tool_call_id"] = message.tool_call_id();
  for (int i = 0; i < message.tool_calls_size(); ++i) {
    ASSIGN_OR_RETURN(Json call, MakeToolCall(absl::StrCat(field, ".tool_calls[", i, "]"),
                                             message.tool_calls(i)));
    out["tool_calls"].push_back(std::move(call));
  }
  return out;
}

}  // namespace

absl::StatusOr<ChatTemplate::Input> MakeChatInput(const Conversation& conversation,
                                                  const ServedModel& model, absl::Time now) {
  ChatTemplate::Input input;
  input.add_generation_prompt = conversation.add_generation_prompt;
  input.now = absl::ToTM(now, absl::LocalTimeZone());
  if (conversation.messages->empty()) return FieldError("messages", "messages is empty");
  size_t bytes = 0;
  for (int i = 0; i < conversation.messages->size(); ++i) {
    const v1::ChatMessage& message = conversation.messages->Get(i);
    bytes += message.ByteSizeLong();
    if (bytes > 2 * model.max_prompt_bytes) {
      return FieldError("messages",
                        absl::StrCat("messages have more than the ", model.max_prompt_bytes,
                                     " bytes that could fit the context; send less"));
    }
    ASSIGN_OR_RETURN(Json json, MakeMessage(absl::StrCat("messages[", i, "]"), message, model));
    input.messages.push_back(std::move(json));
  }
  for (int i = 0; i < conversation.tools_json->size(); ++i) {
    ASSIGN_OR_RETURN(Json tool, ParseObject(absl::StrCat("tools_json[", i, "]"),
                                            conversation.tools_json->Get(i)));
    input.tools.push_back(std::move(tool));
  }
  if (!conversation.kwargs_json->empty()) {
    ASSIGN_OR_RETURN(input.kwargs,
                     ParseObject("chat_template_kwargs_json", *conversation.kwargs_json));
  }
  return input;
}

}  // namespace tessera::server
