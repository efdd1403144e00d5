#include "worker/model/coding_errors.h"

#include <catch2/catch.hpp>

#include <cmath>

#include "shard_loader/load/block_format.h"
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

TEST_CASE("blocks of the checkpoint are taken over and cost nothing, others are coded anew") {
  const auto open = [](const char* name) {
    return shard_loader::Checkpoint::Open(Fixture(name).string()).value();
  };
  const auto measure = [](const shard_loader::Checkpoint& checkpoint, const char* name) {
    const auto format = shard_loader::FormatFor(checkpoint, name).value();
    return worker::MeasureCoding(checkpoint, format, 2).value();
  };
  const auto q4 = open("gguf_blocks/q4_0");
  for (const char* name : {"int4", "int8"}) {
    INFO(name);
    const worker::CodingErrors errors = measure(*q4, name);
    for (const worker::CodingError& error : errors.weights) {
      INFO(error.name);
      CHECK(error.taken);
      CHECK(error.largest == 0);
      CHECK(error.weight_squares > 0);
    }
    CHECK(errors.total.relative() == 0);
    CHECK(errors.total.elements > 0);
  }
  CHECK(measure(*q4, "int4").total.weight_squares == measure(*q4, "int8").total.weight_squares);

  // Groups of another kind are coded anew, from what the blocks stand for.
  const worker::CodingErrors anew = measure(*q4, "int4-g32");
  CHECK(anew.total.relative() > 0);
  for (const worker::CodingError& error : anew.weights) CHECK_FALSE(error.taken);
  CHECK(anew.total.weight_squares == Approx(measure(*q4, "int4").total.weight_squares));

  // Minima: matrices are held, the embedding and the head are not.
  size_t taken = 0;
  const worker::CodingErrors q4_1 = measure(*open("gguf_blocks/q4_1"), "int4");
  for (const worker::CodingError& error : q4_1.weights) {
    INFO(error.name << " in " << error.format);
    CHECK(error.taken == (error.largest == 0));
    taken += error.taken;
  }
  CHECK(taken > 0);
  CHECK(taken < q4_1.weights.size());
}

TEST_CASE("a format without codes is refused") {
  CHECK(absl::IsInvalidArgument(worker::MeasureCoding(*Small(), DType::kBF16, 1).status()));
}

}  // namespace
}  // namespace tessera::tests
