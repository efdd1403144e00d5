// A worker behind a network that is cut is reached again soon after it is mended.
#include <catch2/catch.hpp>

#include <chrono>
#include <thread>

#include "server/executor/mailbox.h"
#include "server/executor/rank_link.h"
#include "tests/support/cut_port.h"

namespace tessera::tests {
namespace {

using namespace std::chrono_literals;
using server::Mailbox;
using server::RankLink;

// What begins a connection is lost; the kernel says it again after 1 s, 3 s and 7 s.
TEST_CASE("an attempt to reach a worker that begins in a cut does not wait for the kernel's next") {
  CutPort port;
  Mailbox mailbox;
  RankLink link({.rank = 0, .address = port.target(), .reach = RankLink::Options::Reach::kCutOff},
                &mailbox);
  std::this_thread::sleep_for(3500ms);
  port.Mend();
  CHECK(port.Reached(2500ms));
}

}  // namespace
}  // namespace tessera::tests
