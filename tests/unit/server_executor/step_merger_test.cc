#include "server/executor/step_merger.h"

#include <catch2/catch.hpp>

#include "proto/rpc/error_site.h"

namespace tessera::server {
namespace {

internal::v1::StepResult Answer(uint64_t step, uint64_t hash, bool samples = false) {
  internal::v1::StepResult answer;
  answer.set_step(step);
  answer.set_ids_hash(hash);
  if (samples) answer.add_results()->set_sequence(step * 100);
  return answer;
}

TEST_CASE("a step's result is the drawing rank's, whatever the others have answered") {
  StepMerger merger(2, /*tp=*/1);
  auto first = merger.Add(1, Answer(7, 1, /*samples=*/true));
  REQUIRE(first.ok());
  REQUIRE(*first);
  CHECK((*first)->step == 7);
  REQUIRE((*first)->results.size() == 1);
  CHECK((*first)->results[0].sequence == 700);
  CHECK(merger.merged() == 0);
  auto second = merger.Add(0, Answer(7, 1));
  REQUIRE(second.ok());
  CHECK_FALSE(*second);
  CHECK(merger.merged() == 1);
}

TEST_CASE("a rank may be several steps ahead of another") {
  StepMerger merger(2, /*tp=*/2);
  CHECK_FALSE(merger.Add(1, Answer(1, 1))->has_value());
  CHECK_FALSE(merger.Add(1, Answer(2, 2))->has_value());
  CHECK(merger.Add(0, Answer(1, 1))->value().step == 1);
  CHECK(merger.Add(0, Answer(2, 2))->value().step == 2);
  CHECK(merger.Add(0, Answer(3, 3))->value().step == 3);
  CHECK(merger.merged() == 2);
  CHECK_FALSE(merger.Add(1, Answer(3, 3))->has_value());
  CHECK(merger.merged() == 3);
}

TEST_CASE("a rank that draws other tokens is named, also when its answer comes late") {
  StepMerger merger(2, /*tp=*/2);
  CHECK(merger.Add(0, Answer(1, 10))->has_value());
  CHECK(merger.Add(0, Answer(2, 20))->has_value());
  CHECK_FALSE(merger.Add(1, Answer(1, 10))->has_value());
  absl::Status status = merger.Add(1, Answer(2, 21)).status();
  CHECK(absl::IsInternal(status));
  CHECK(std::string(status.message()).find("rank 1 diverges: the tokens of step 2") !=
        std::string::npos);
}

TEST_CASE("a step without results is merged too") {
  StepMerger merger(1);
  auto result = merger.Add(0, Answer(3, 0));
  REQUIRE(result.ok());
  CHECK(result->value().results.empty());
}

TEST_CASE("a rank that has drawn other tokens is named") {
  StepMerger merger(3);
  REQUIRE(merger.Add(0, Answer(1, 10)).ok());
  REQUIRE(merger.Add(1, Answer(1, 10)).ok());
  absl::Status status = merger.Add(2, Answer(1, 11)).status();
  CHECK(absl::IsInternal(status));
  CHECK(std::string(status.message()).find("rank 2 diverges") != std::string::npos);
}

TEST_CASE(
    "a rank whose residual differs from that of its stage is named; stages differ by nature") {
  StepMerger merger(4, /*tp=*/2);
  auto answer = [](uint64_t residual) {
    internal::v1::StepResult result = Answer(1, 10);
    result.set_residual_hash(residual);
    return result;
  };
  REQUIRE(merger.Add(0, answer(5)).ok());
  REQUIRE(merger.Add(2, answer(6)).ok());
  REQUIRE(merger.Add(1, answer(5)).ok());
  absl::Status status = merger.Add(3, answer(7)).status();
  CHECK(absl::IsInternal(status));
  CHECK(std::string(status.message()).find("rank 3 diverges: the residual stream") == 0);
  CHECK(rpc::GetErrorSite(status).rank == 3);
}

TEST_CASE("a rank that answers another step is named") {
  StepMerger merger(2, /*tp=*/2);
  REQUIRE(merger.Add(0, Answer(1, 10)).ok());
  CHECK(absl::IsInternal(merger.Add(1, Answer(2, 10)).status()));
}

}  // namespace
}  // namespace tessera::server
