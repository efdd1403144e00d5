#include "server/engine/loss_log.h"

#include <catch2/catch.hpp>

namespace tessera::server {
namespace {

LossRecord Loss(uint64_t epoch, bool was_ready) {
  return {.epoch = epoch,
          .was_ready = was_ready,
          .cause = "gone",
          .at = absl::UnixEpoch() + absl::Seconds(static_cast<int64_t>(epoch))};
}

TEST_CASE("the first loss since the group was ready is kept, however often it fails to come back") {
  LossLog log;
  log.Lost(Loss(1, true));
  CHECK(log.Back(absl::UnixEpoch() + absl::Seconds(2))->epoch == 1);
  CHECK_FALSE(log.Back(absl::UnixEpoch() + absl::Seconds(3)).has_value());
  log.Lost(Loss(4, true));
  for (uint64_t epoch = 5; epoch <= 40; ++epoch) log.Lost(Loss(epoch, false));
  log.Moved(2);
  log.Moved(1);
  std::vector<LossRecord> records = log.Read();
  REQUIRE(records.size() == LossLog::kKept);
  CHECK(records[0].epoch == 4);
  CHECK(records[0].requests_moved == 3);
  CHECK(records[1].epoch == 26);
  CHECK(records.back().epoch == 40);
  CHECK(log.Back(absl::UnixEpoch() + absl::Seconds(41))->epoch == 4);
  records = log.Read();
  CHECK(records[0].pause == absl::Seconds(37));
  CHECK(records.back().pause == absl::Seconds(1));
  // Those that are over go first.
  log.Lost(Loss(42, true));
  CHECK(log.Read()[0].epoch == 26);
  log.Moved(1);
  CHECK(log.Read().back().requests_moved == 1);
}

}  // namespace
}  // namespace tessera::server
