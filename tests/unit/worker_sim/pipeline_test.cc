#include "worker/sim/pipeline.h"

#include <catch2/catch.hpp>
#include <vector>

namespace tessera::worker {
namespace {

absl::Duration Ms(int64_t count) { return absl::Milliseconds(count); }

TEST_CASE("a step goes from stage to stage") {
  Pipeline pipeline(3);
  CHECK(pipeline.Add(Ms(5), {Ms(1), Ms(2), Ms(3)}) ==
        std::vector<Busy>{{Ms(5), Ms(6)}, {Ms(6), Ms(8)}, {Ms(8), Ms(11)}});
}

TEST_CASE("a stage takes the next step while the following stages have the one before") {
  Pipeline pipeline(2);
  pipeline.Add(Ms(0), {Ms(4), Ms(4)});
  CHECK(pipeline.Add(Ms(1), {Ms(4), Ms(4)}) == std::vector<Busy>{{Ms(4), Ms(8)}, {Ms(8), Ms(12)}});
}

TEST_CASE("a step that waits for the ids of the one before leaves the stages idle") {
  Pipeline pipeline(2);
  const absl::Duration drawn = pipeline.Add(Ms(0), {Ms(4), Ms(4)}).back().end;
  CHECK(pipeline.Add(drawn, {Ms(4), Ms(4)}) ==
        std::vector<Busy>{{Ms(8), Ms(12)}, {Ms(12), Ms(16)}});
}

}  // namespace
}  // namespace tessera::worker
