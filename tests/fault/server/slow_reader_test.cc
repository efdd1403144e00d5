// A client that does not read: its sequence pauses, others go on, and nothing is lost.
#include <catch2/catch.hpp>

#include "tests/integration/server/api.h"
#include "tests/support/fixtures.h"
#include "tests/support/process.h"

namespace tessera::tests {
namespace {

// The number of tokens drawn so far, once it has stood still for a second.
uint64_t AwaitStandstill(Api& api) {
  uint64_t last = 0;
  int same = 0;
  REQUIRE(api.AwaitStatus([&](const v1::ServerStatus& status) {
    uint64_t tokens = status.engine().completion_tokens_total();
    same = tokens == last && tokens > 0 ? same + 1 : 0;
    last = tokens;
    return same == 10;
  }));
  return last;
}

TEST_CASE("a stream that nobody reads is paused within a bound, and goes on when it is read") {
  Server server({"--model", DemoModel().string(), "--max-logprobs", "2048"});
  Api api(server.target());
  Api slow(server.target());
  constexpr uint32_t kTokens = 600;  // of some 40 KB each
  v1::GenerateRequest request = Greedy({0, 581}, kTokens);
  request.mutable_stop()->set_ignore_eos(true);
  request.mutable_output()->set_logprobs(2000);
  grpc::ClientContext context;
  auto reader = slow.inference().Generate(&context, request);
  v1::GenerateResponse response;
  REQUIRE(reader->Read(&response));  // Accepted

  uint64_t paused_at = AwaitStandstill(api);
  CHECK(paused_at < kTokens);
  Reply other = api.Generate(Greedy({0, 581, 601}, 20));
  CHECK(other.status.ok());
  CHECK(api.Status().engine().completion_tokens_total() == paused_at + other.ids.size());

  Reply rest = ReadAll(*reader);
  CHECK(rest.status.ok());
  CHECK(rest.ids.size() == kTokens);
  CHECK(rest.logprobs.size() == kTokens);
}

}  // namespace
}  // namespace tessera::tests
