#include "worker/app/timer.h"

#include <catch2/catch.hpp>

#include <atomic>
#include <future>

namespace tessera::worker {
namespace {

TEST_CASE("a timer calls once") {
  std::promise<void> called;
  Timer timer(absl::Milliseconds(1), Timer::Mode::kOnce, [&called] { called.set_value(); });
  CHECK(called.get_future().wait_for(std::chrono::seconds(30)) == std::future_status::ready);
}

TEST_CASE("a timer calls again and again") {
  std::promise<void> called;
  int calls = 0;
  Timer timer(absl::Milliseconds(1), Timer::Mode::kRepeat, [&] {
    if (++calls == 3) called.set_value();
  });
  CHECK(called.get_future().wait_for(std::chrono::seconds(30)) == std::future_status::ready);
}

TEST_CASE("a timer that goes before its time never calls") {
  std::atomic<bool> called = false;
  {
    Timer timer(absl::Hours(1), Timer::Mode::kRepeat, [&called] { called = true; });
  }
  CHECK_FALSE(called);
}

}  // namespace
}  // namespace tessera::worker
