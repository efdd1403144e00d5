#include "server/frontend/unknown_fields.h"

#include <catch2/catch.hpp>

#include "proto/rpc/status.h"
#include "tessera/v1/inference.pb.h"

namespace tessera::server {
namespace {

TEST_CASE("known fields pass, maps and repeated messages included") {
  v1::ChatRequest request;
  request.add_messages()->add_tool_calls()->set_id("x");
  (*request.mutable_sampling()->mutable_logit_bias())[3] = 1;
  CHECK(CheckUnknownFields(request).ok());
}

TEST_CASE("an unknown field is named by its path and number, at any depth") {
  v1::ChatRequest request;
  request.ParseFromString("\xf8\x3e\x01");  // field 1007, varint 1
  absl::Status top = CheckUnknownFields(request);
  CHECK(absl::IsUnimplemented(top));
  CHECK(rpc::FieldViolation(top) == "1007");

  v1::ChatRequest nested;
  auto* call = nested.add_messages()->add_tool_calls();
  call->ParseFromString("\xf8\x3e\x01");
  absl::Status deep = CheckUnknownFields(nested);
  CHECK(rpc::FieldViolation(deep) == "messages.tool_calls.1007");
  CHECK(std::string(deep.message()).find("tessera.v1.ToolCall") != std::string::npos);
}

}  // namespace
}  // namespace tessera::server
