#include "shard_loader/load/source_piece.h"

#include <catch2/catch.hpp>

#include "shard_loader/load/megatron_parts.h"

namespace tessera::shard_loader {
namespace {

// A matrix of f32 without gaps, at byte 100 of file 1.
SourcePiece Matrix(int64_t rows, int64_t columns) {
  return PieceOf(1, {"m",
                     StoredType::kF32,
                     {rows, columns},
                     {columns, 1},
                     {100, static_cast<uint64_t>(rows * columns * 4)}});
}

// The index of the element that lies at (row, column), counted in the file from byte 100 on.
int64_t ElementAt(const std::vector<SourcePiece>& pieces, int64_t row, int64_t column) {
  for (const SourcePiece& piece : pieces) {
    const PieceReads reads = ReadsOf(piece, {row, row + 1}, {column, column + 1});
    if (reads.count > 0) return (static_cast<int64_t>(reads.part.offset) - 100) / 4;
  }
  return -1;
}

TEST_CASE("a slice of a matrix is one read a row, and a transposed one a read a column") {
  const PieceReads rows = ReadsOf(Matrix(4, 6), {1, 3}, {2, 5});
  CHECK_FALSE(rows.by_column);
  CHECK(rows.count == 2);
  CHECK(rows.bytes == 12);
  CHECK(rows.stride == 24);
  CHECK(rows.part.offset == 100 + 4 * (6 + 2));
  const PieceReads columns = ReadsOf(Transposed(Matrix(4, 6)), {2, 5}, {1, 3});
  CHECK(columns.by_column);
  CHECK(columns.count == 2);
  CHECK(columns.bytes == 12);
  CHECK(columns.part.offset == rows.part.offset);
  CHECK(ReadsOf(Matrix(4, 6), {4, 6}, {0, 6}).count == 0);
}

TEST_CASE("a slice that cuts a quantised block reads the whole block") {
  const SourcePiece piece = PieceOf(0, {"q", StoredType::kQ8_0, {2, 96}, {96, 1}, {0, 2 * 3 * 34}});
  const PieceReads reads = ReadsOf(piece, {1, 2}, {40, 96});
  CHECK(reads.part.offset == 3 * 34 + 34);
  CHECK(reads.bytes == 2 * 34);
  CHECK(reads.skipped == 8);
}

TEST_CASE("interleaved rotary rows come out in halves") {
  const std::vector<SourcePiece> pieces = HalvesOfHeads(Matrix(8, 2), 4);
  CHECK(CoverExactly(pieces, 8, 2));
  const int64_t expected[] = {0, 2, 1, 3, 4, 6, 5, 7};
  for (int64_t row = 0; row < 8; ++row) {
    CHECK(ElementAt(pieces, row, 1) == expected[row] * 2 + 1);
  }
}

TEST_CASE("a matrix that was cut anywhere is found again") {
  // 3 x 4, of which one file has elements [0, 5) and the other [5, 12).
  SourcePiece front = Matrix(12, 1);
  std::vector<SourcePiece> pieces = FlatPieces(front, 4, {0, 5});
  front.offset += 5 * 4;
  const std::vector<SourcePiece> rest = FlatPieces(front, 4, {5, 12});
  pieces.insert(pieces.end(), rest.begin(), rest.end());
  CHECK(CoverExactly(pieces, 3, 4));
  for (int64_t i = 0; i < 12; ++i) CHECK(ElementAt(pieces, i / 4, i % 4) == i);
}

TEST_CASE("holes and overlaps of pieces are seen") {
  const SourcePiece half = RowsOf(Matrix(4, 2), {0, 2});
  CHECK(CoverExactly({half, MovedTo(half, 2, 0)}, 4, 2));
  CHECK(CoverExactly({MovedTo(half, 0, 2), half}, 2, 4));
  CHECK_FALSE(CoverExactly({half}, 4, 2));
  CHECK_FALSE(CoverExactly({half, MovedTo(half, 1, 0)}, 4, 2));
  CHECK_FALSE(CoverExactly({half, MovedTo(half, 2, 0), MovedTo(half, 1, 0)}, 4, 2));
  CHECK_FALSE(CoverExactly({half, MovedTo(half, 3, 0)}, 4, 2));
  CHECK_FALSE(CoverExactly({half, MovedTo(half, 0, 3)}, 2, 5));
}

// Two ranks with 1 of 2 heads each, head size 2: 6 rows a rank.
std::vector<FoundTensor> QkvParts() {
  std::vector<FoundTensor> parts;
  for (int64_t rank = 0; rank < 2; ++rank) {
    FoundTensor part{.name = "qkv", .shape = {6, 1}, .pieces = {Matrix(6, 1)}};
    part.pieces[0].offset += static_cast<uint64_t>(rank * 6 * 4);
    parts.push_back(part);
  }
  return parts;
}

TEST_CASE("fused rows of every Megatron version come apart") {
  struct {
    double version;
    int64_t query[4], value[4];
  } const cases[] = {
      {0.0, {0, 1, 6, 7}, {4, 5, 10, 11}},
      {1.0, {0, 3, 6, 9}, {2, 5, 8, 11}},
      {3.0, {0, 1, 6, 7}, {4, 5, 10, 11}},
  };
  for (const auto& test : cases) {
    const auto qkv = SplitQkv(QkvParts(), {2, 2, 2, test.version, false}, "f");
    REQUIRE(qkv.ok());
    CHECK(qkv->query.shape == std::vector<int64_t>{4, 1});
    CHECK(CoverExactly(qkv->query.pieces, 4, 1));
    for (int64_t row = 0; row < 4; ++row) {
      CHECK(ElementAt(qkv->query.pieces, row, 0) == test.query[row]);
      CHECK(ElementAt(qkv->value.pieces, row, 0) == test.value[row]);
    }
  }
  CHECK_FALSE(SplitQkv(QkvParts(), {8, 2, 4, 3.0, false}, "f").ok());
  CHECK_FALSE(SplitQkv(QkvParts(), {2, 1, 2, 1.0, false}, "f").ok());
}

TEST_CASE("grouped queries of a rank lie before their key and value") {
  // One rank, 4 heads in 2 groups of size 1: q0 q1 k0 v0 q2 q3 k1 v1.
  const FoundTensor part{.name = "qkv", .shape = {8, 1}, .pieces = {Matrix(8, 1)}};
  const auto qkv = SplitQkv({part}, {4, 2, 1, 3.0, false}, "f");
  REQUIRE(qkv.ok());
  const int64_t query[] = {0, 1, 4, 5};
  for (int64_t row = 0; row < 4; ++row) CHECK(ElementAt(qkv->query.pieces, row, 0) == query[row]);
  CHECK(ElementAt(qkv->key.pieces, 1, 0) == 6);
  CHECK(ElementAt(qkv->value.pieces, 0, 0) == 3);
}

}  // namespace
}  // namespace tessera::shard_loader
