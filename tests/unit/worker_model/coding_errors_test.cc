#include "worker/model/coding_errors.h"

#include <catch2/catch.hpp>

#include <cmath>

#include "tests/support/fixtures.h"

namespace tessera::tests {
namespace {

using shard_loader::Codes;
using shard_loader::DType;
using shard_loader::WeightFormat;

std::unique_ptr<shard_loader::Checkpoint> Small() {
  return shard_loader::Checkpoint::Open(Fixture("checkpoints/llama_small").string()).value();
}

TEST_CASE("the error of every coded weight is what its steps allow, and the total is their sum") {
  const auto checkpoint = Small();
  // Half a step of 1 / 127 of a group's largest, or a whole one of 1 / 8; a scale in bf16 is off by
  // another 2^-9 of what it scales.
  for (auto [name, step] : {std::pair{"int8", 0.5 / 127 + 0x1p-9}, std::pair{"int4", 1.0 / 8}}) {
    INFO(name);
    const auto format = shard_loader::ParseWeightFormat(name).value();
    const auto errors = worker::MeasureCoding(*checkpoint, format, 2).value();
    REQUIRE(static_cast<int64_t>(errors.weights.size()) >= 7 * checkpoint->spec().num_layers);
    int64_t elements = 0;
    double squares = 0, largest = 0;
    for (const worker::CodingError& error : errors.weights) {
      INFO(error.name << " in " << error.format);
      CHECK(error.elements > 0);
      CHECK(error.largest > 0);
      CHECK(error.rms() > 0);
      CHECK(error.rms() <= error.largest);
      // The elements of a group are alike: the largest is at most some 6 times the typical one.
      CHECK(error.relative() <= 6 * step);
      elements += error.elements;
      squares += error.squares;
      largest = std::max(largest, error.largest);
    }
    CHECK(errors.total.elements == elements);
    CHECK(errors.total.squares == Approx(squares));
    CHECK(errors.total.largest == largest);
  }
}

TEST_CASE("smaller groups cost less, and 8 bits less than 4") {
  // Its lanes are wide enough for groups of 128 columns.
  const auto checkpoint = shard_loader::Checkpoint::Open(DemoModel().string()).value();
  const auto relative = [&](Codes codes, int64_t group) {
    const WeightFormat format = {codes, group, DType::kBF16};
    return worker::MeasureCoding(*checkpoint, format, 1).value().total.relative();
  };
  CHECK(relative(Codes::kInt4, 32) < relative(Codes::kInt4, 128));
  CHECK(5 * relative(Codes::kInt8, 64) < relative(Codes::kInt4, 32));
}

TEST_CASE("a format without codes is refused") {
  CHECK(absl::IsInvalidArgument(worker::MeasureCoding(*Small(), DType::kBF16, 1).status()));
}

}  // namespace
}  // namespace tessera::tests
