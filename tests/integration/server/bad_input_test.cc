// What clients may send wrong: each a clear error with the right code, and the server goes on.
#include <catch2/catch.hpp>

#include <functional>
#include <limits>

#include "proto/rpc/status.h"
#include "tests/integration/server/api.h"
#include "tests/support/fixtures.h"
#include "tests/support/process.h"

namespace tessera::tests {
namespace {

using grpc::StatusCode;

struct BadCase {
  const char* what;
  std::function<void(v1::GenerateRequest&)> spoil;
  StatusCode code;
  const char* field;    // in the details; empty: none
  const char* message;  // part of it
};

std::vector<BadCase> Cases() {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  return {
      {"temperature -1", [](auto& r) { r.mutable_sampling()->set_temperature(-1); },
       StatusCode::INVALID_ARGUMENT, "sampling.temperature", "non-negative"},
      {"top_p NaN", [](auto& r) { r.mutable_sampling()->set_top_p(kNan); },
       StatusCode::INVALID_ARGUMENT, "sampling.top_p", "(0, 1]"},
      {"empty prompt", [](auto& r) { r.set_text(""); }, StatusCode::INVALID_ARGUMENT, "prompt",
       "empty"},
      {"no prompt", [](auto& r) { r.clear_prompt(); }, StatusCode::INVALID_ARGUMENT, "prompt",
       "empty"},
      {"10 MB prompt", [](auto& r) { r.set_text(std::string(10 << 20, 'a')); },
       StatusCode::INVALID_ARGUMENT, "text", "bytes"},
      {"longer than the context",
       [](auto& r) {
         for (int i = 0; i < 1022; ++i) r.mutable_token_ids()->add_ids(5);
       },
       StatusCode::INVALID_ARGUMENT, "prompt", "1024"},
      {"invalid UTF-8", [](auto& r) { r.set_text("ab\xff"); }, StatusCode::INVALID_ARGUMENT, "text",
       "byte 2"},
      {"id beyond the vocabulary", [](auto& r) { r.mutable_token_ids()->add_ids(2048); },
       StatusCode::INVALID_ARGUMENT, "token_ids", "2048"},
      {"unknown model", [](auto& r) { r.set_model("gpt"); }, StatusCode::NOT_FOUND, "", "'demo'"},
      {"more logprobs than allowed", [](auto& r) { r.mutable_output()->set_logprobs(21); },
       StatusCode::INVALID_ARGUMENT, "output.logprobs", "--max-logprobs"},
      {"a tenant's name that is too long", [](auto& r) { r.set_tenant(std::string(257, 'x')); },
       StatusCode::INVALID_ARGUMENT, "tenant", "256"},
      {"more beams than seats", [](auto& r) { r.mutable_sampling()->set_beam_width(5); },
       StatusCode::INVALID_ARGUMENT, "sampling.beam_width", "at most 4 at a time"},
      {"several answers from one's ids",
       [](auto& r) {
         r.mutable_sampling()->set_n(2);
         r.mutable_continue_from()->add_ids(5);
       },
       StatusCode::INVALID_ARGUMENT, "continue_from", "one answer"},
      {"a field of a newer client",
       [](auto& r) {
         auto* unknown = r.GetReflection()->MutableUnknownFields(&r);
         unknown->AddVarint(999, 1);
       },
       StatusCode::UNIMPLEMENTED, "999", "999"},
  };
}

TEST_CASE("bad requests get the right code, name their field, and the server goes on") {
  Server server({"--model", DemoModel().string(), "--max-num-seqs", "4"});
  Api api(server.target());
  for (const BadCase& bad : Cases()) {
    INFO(bad.what);
    v1::GenerateRequest request = Greedy({0, 581}, 4);
    bad.spoil(request);
    Reply reply = api.Generate(request);
    INFO(reply.status.error_message());
    CHECK(reply.status.error_code() == bad.code);
    CHECK(reply.status.error_message().find(bad.message) != std::string::npos);
    CHECK(rpc::FieldViolation(rpc::FromGrpc(reply.status)) == bad.field);
    CHECK_FALSE(reply.accepted.has_value());
  }
  CHECK(api.Generate(Greedy({0, 581}, 4)).status.ok());
  CHECK(server.Stop() == 0);
}

}  // namespace
}  // namespace tessera::tests
