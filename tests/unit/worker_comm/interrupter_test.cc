#include "worker/comm/interrupter.h"

#include <catch2/catch.hpp>

namespace tessera::worker {
namespace {

TEST_CASE("an interruption ends the open scope, and each later one as it opens") {
  Interrupter interrupter;
  int ended = 0;
  auto count = [&ended](const absl::Status& why) {
    CHECK(absl::IsCancelled(why));
    CHECK(why.message() == "the server is gone");
    ++ended;
  };
  { Interrupter::Scope over(&interrupter, count); }
  CHECK(interrupter.interrupted().ok());
  {
    Interrupter::Scope open(&interrupter, count);
    interrupter.Interrupt(absl::UnavailableError("the server is gone"));
    CHECK(ended == 1);
  }
  interrupter.Interrupt(absl::InternalError("another reason"));
  CHECK(ended == 1);
  {
    Interrupter::Scope late(&interrupter, count);
    CHECK(ended == 2);
  }
  CHECK(interrupter.interrupted().message() == "the server is gone");
}

TEST_CASE("a scope without an interrupter is never ended") {
  Interrupter::Scope scope(nullptr, [](const absl::Status&) { FAIL("nobody interrupts"); });
}

}  // namespace
}  // namespace tessera::worker
