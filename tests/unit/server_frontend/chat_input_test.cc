#include "server/frontend/chat_input.h"

#include <catch2/catch.hpp>

#include "proto/rpc/status.h"

namespace tessera::server {
namespace {

ServedModel Model() {
  ServedModel model;
  model.max_prompt_bytes = 1000;
  return model;
}

absl::StatusOr<ChatTemplate::Input> Make(const v1::ChatRequest& request) {
  return MakeChatInput({.messages = &request.messages(),
                        .tools_json = &request.tools_json(),
                        .kwargs_json = &request.chat_template_kwargs_json(),
                        .add_generation_prompt = true},
                       Model(), absl::UnixEpoch());
}

v1::ChatRequest Hello() {
  v1::ChatRequest request;
  auto* message = request.add_messages();
  message->set_role("user");
  message->set_content("Hello!");
  return request;
}

TEST_CASE("messages, tools and variables become the template's JSON") {
  v1::ChatRequest request = Hello();
  auto* call = request.add_messages();
  call->set_role("assistant");
  call->add_tool_calls()->set_name("weather");
  call->mutable_tool_calls(0)->set_id("c1");
  call->mutable_tool_calls(0)->set_arguments_json(R"({"city": "Oslo"})");
  auto* answer = request.add_messages();
  answer->set_role("tool");
  answer->set_content("cold");
  answer->set_tool_call_id("c1");
  request.add_tools_json(R"({"type": "function"})");
  request.set_chat_template_kwargs_json(R"({"thinking": false})");
  auto input = Make(request);
  REQUIRE(input.ok());
  CHECK(input->messages.dump() ==
        R"([{"role":"user","content":"Hello!"},)"
        R"({"role":"assistant","content":"","tool_calls":[{"type":"function",)"
        R"("function":{"name":"weather","arguments":{"city":"Oslo"}},"id":"c1"}]},)"
        R"({"role":"tool","content":"cold","tool_call_id":"c1"}])");
  CHECK(input->tools.dump() == R"([{"type":"function"}])");
  CHECK(input->kwargs.dump() == R"({"thinking":false})");
  CHECK(input->add_generation_prompt);
}

TEST_CASE("without tools the template sees none") {
  auto input = Make(Hello());
  REQUIRE(input.ok());
  CHECK(input->tools.is_null());
}

TEST_CASE("what is wrong in a conversation is refused by its path") {
  v1::ChatRequest none;
  CHECK(rpc::FieldViolation(Make(none).status()) == "messages");
  v1::ChatRequest no_role = Hello();
  no_role.mutable_messages(0)->clear_role();
  CHECK(rpc::FieldViolation(Make(no_role).status()) == "messages[0].role");
  v1::ChatRequest bytes = Hello();
  bytes.mutable_messages(0)->set_content("\xff");
  CHECK(rpc::FieldViolation(Make(bytes).status()) == "messages[0].content");
  v1::ChatRequest tools = Hello();
  tools.add_tools_json("[1]");
  CHECK(rpc::FieldViolation(Make(tools).status()) == "tools_json[0]");
  v1::ChatRequest kwargs = Hello();
  kwargs.set_chat_template_kwargs_json("{");
  CHECK(rpc::FieldViolation(Make(kwargs).status()) == "chat_template_kwargs_json");
  v1::ChatRequest large = Hello();
  for (int i = 0; i < 30; ++i) *large.add_messages() = large.messages(0);
  large.mutable_messages(3)->set_content(std::string(1001, 'x'));
  CHECK(rpc::FieldViolation(Make(large).status()) == "messages[3].content");
}

TEST_CASE("JSON that nests too deep is refused before it is parsed") {
  v1::ChatRequest request = Hello();
  std::string deep = R"({"a":)" + std::string(100, '[') + std::string(100, ']') + "}";
  request.set_chat_template_kwargs_json(deep);
  absl::Status status = Make(request).status();
  CHECK(status.message() == "chat_template_kwargs_json nests deeper than 64");
  // Brackets inside a string are no nesting.
  request.set_chat_template_kwargs_json(R"({"a":"\")" + std::string(100, '[') + R"("})");
  CHECK(Make(request).ok());
}

}  // namespace
}  // namespace tessera::server
