#include "server/engine/response_stream.h"

#include <catch2/catch.hpp>

namespace tessera::server {
namespace {

DeltaEvent Text(const std::string& text) { return {.text = text, .tokens = {}}; }

std::string TakeText(ResponseStream& stream) {
  auto event = stream.Take();
  REQUIRE(event.has_value());
  return std::get<DeltaEvent>(*event).text;
}

TEST_CASE("a reader that keeps up takes every delta by itself") {
  ResponseStream stream(1000);
  stream.Push(Text("a"));
  CHECK(TakeText(stream) == "a");
  stream.Push(Text("b"));
  CHECK(TakeText(stream) == "b");
  CHECK_FALSE(stream.Take().has_value());
}

TEST_CASE("deltas that wait are merged, tokens in order") {
  ResponseStream stream(100000);
  stream.Push(AcceptedEvent{.seed = 7});
  for (uint32_t id : {1, 2, 3}) {
    stream.Push(DeltaEvent{.text = std::to_string(id), .tokens = {{.id = id}}});
  }
  stream.Push(FinishedEvent{});
  stream.End(absl::OkStatus());
  CHECK(std::get<AcceptedEvent>(*stream.Take()).seed == 7);
  auto delta = std::get<DeltaEvent>(*stream.Take());
  CHECK(delta.text == "123");
  REQUIRE(delta.tokens.size() == 3);
  CHECK(delta.tokens[2].id == 3);
  CHECK(std::holds_alternative<FinishedEvent>(*stream.Take()));
  CHECK(std::get<absl::Status>(*stream.Take()).ok());
  CHECK_FALSE(stream.Take().has_value());
}

TEST_CASE("a full buffer tells once when it is down to a half") {
  ResponseStream stream(1000);
  int drained = 0;
  stream.SetDrained([&drained] { ++drained; });
  stream.Push(Text(std::string(600, 'x')));
  CHECK_FALSE(stream.full());
  stream.Push(Text(std::string(600, 'y')));
  CHECK(stream.full());
  CHECK(drained == 0);
  CHECK(TakeText(stream).size() == 1200);
  CHECK(drained == 1);
  CHECK_FALSE(stream.full());
}

TEST_CASE("the reader is woken for every event, and for nothing after the last") {
  ResponseStream stream(1000);
  int woken = 0;
  stream.SetAvailable([&woken] { ++woken; });
  stream.Push(Text("a"));
  stream.End(absl::CancelledError("gone"));
  CHECK(woken == 2);
  stream.Push(Text("b"));
  stream.End(absl::OkStatus());
  CHECK(woken == 2);
  CHECK(TakeText(stream) == "a");
  CHECK(absl::IsCancelled(std::get<absl::Status>(*stream.Take())));
  CHECK_FALSE(stream.Take().has_value());
}

TEST_CASE("a reader that is given up loses what it has not taken") {
  ResponseStream stream(1000);
  stream.Push(Text("a"));
  stream.End(absl::CancelledError("too slow"), /*discard=*/true);
  CHECK(stream.discarded());
  CHECK(absl::IsCancelled(std::get<absl::Status>(*stream.Take())));
}

}  // namespace
}  // namespace tessera::server
