#include "shard_loader/load/stretches.h"

#include <catch2/catch.hpp>

namespace tessera::shard_loader {
namespace {

constexpr uint64_t kMost = 10000;

// Rows [first, last) of columns [begin, end) of a bf16 matrix of 100 columns at byte 1000 of
// file 3.
PartReads Part(Range rows, Range columns = {0, 100}) {
  SourcePiece piece{.file = 3, .type = StoredType::kBF16, .offset = 1000};
  piece.row_stride = 200;
  piece.column_stride = 2;
  piece.rows = {0, 1000};
  piece.columns = {0, 100};
  return {.pieces = {ReadsOf(piece, rows, columns)}};
}

std::vector<Stretch> Stretches(const std::vector<PartReads>& parts) {
  std::vector<Stretch> stretches;
  for (const PartReads& part : parts) AddPart(part, kMost, stretches);
  return stretches;
}

TEST_CASE("parts without gaps become one stretch up to its most bytes") {
  const auto stretches = Stretches({Part({0, 20}), Part({20, 40}), Part({40, 60})});
  REQUIRE(stretches.size() == 2);
  CHECK(stretches[0].whole);
  CHECK(stretches[0].parts == 2);
  REQUIRE(stretches[0].spans.size() == 1);
  CHECK(stretches[0].spans[0].file == 3);
  CHECK(stretches[0].spans[0].begin == 1000);
  CHECK(stretches[0].spans[0].end == 9000);
  CHECK(stretches[1].parts == 1);
  CHECK(stretches[1].bytes() == 4000);
}

TEST_CASE("a part that does not go on where the last one ended begins a stretch") {
  CHECK(Stretches({Part({0, 10}), Part({11, 20})}).size() == 2);
  CHECK(Stretches({Part({10, 20}), Part({0, 10})}).size() == 2);
}

TEST_CASE("a part that is larger than a stretch is one by itself") {
  const auto stretches = Stretches({Part({0, 100}), Part({100, 101})});
  REQUIRE(stretches.size() == 2);
  CHECK(stretches[0].whole);
  CHECK(stretches[0].bytes() == 20000);
}

TEST_CASE("columns of rows, and what other ranks read too, are not whole") {
  PartReads shared = Part({0, 10});
  shared.shared = true;
  const auto stretches = Stretches({shared, Part({10, 20}, {0, 50}), Part({20, 30}, {0, 50})});
  REQUIRE(stretches.size() == 1);
  CHECK_FALSE(stretches[0].whole);
  CHECK(stretches[0].parts == 3);
  // To the end of the columns of row 19, then of row 29.
  REQUIRE(stretches[0].spans.size() == 2);
  CHECK(stretches[0].spans[0].end == 1000 + 19 * 200 + 100);
  CHECK(stretches[0].spans[1].begin == 1000 + 20 * 200);
}

TEST_CASE("a small share of wide rows is not fetched ahead") {
  const auto stretches = Stretches({Part({0, 10}, {0, 20})});
  REQUIRE(stretches.size() == 1);
  CHECK(stretches[0].spans.empty());
  CHECK_FALSE(stretches[0].whole);
  CHECK(Stretches({Part({0, 10}, {0, 25})})[0].spans.size() == 1);
}

TEST_CASE("pieces that follow one another are whole together, others are not") {
  PartReads part = Part({0, 10});
  part.pieces.push_back(Part({10, 20}).pieces[0]);
  CHECK(Stretches({part})[0].whole);
  CHECK(Stretches({part})[0].bytes() == 4000);
  part.pieces.push_back(Part({25, 30}).pieces[0]);
  CHECK_FALSE(Stretches({part})[0].whole);
  CHECK(Stretches({part})[0].spans.size() == 2);
  // The same bytes twice.
  part.pieces.pop_back();
  part.pieces.push_back(Part({15, 20}).pieces[0]);
  CHECK_FALSE(Stretches({part})[0].whole);
}

TEST_CASE("of a compressed piece the record is fetched") {
  PartReads part = Part({0, 10});
  part.pieces[0].part.codec = Codec::kZlib;
  part.pieces[0].part.record = {5000, 300};
  const auto stretches = Stretches({part});
  REQUIRE(stretches[0].spans.size() == 1);
  CHECK(stretches[0].spans[0].begin == 5000);
  CHECK(stretches[0].spans[0].end == 5300);
}

}  // namespace
}  // namespace tessera::shard_loader
