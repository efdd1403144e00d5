#include "shard_loader/load/stored_weight.h"

#include <catch2/catch.hpp>

namespace tessera::shard_loader {
namespace {

// A matrix of f32 from byte 0 on.
SourcePiece Whole(int64_t rows, int64_t columns) {
  return PieceOf(0, {"w", StoredType::kF32, {rows, columns}, {columns, 1}, {0, 0}});
}

// The element of the file at (row, column) of the weight, or -1 where no piece has it.
int64_t At(const std::vector<SourcePiece>& pieces, int64_t row, int64_t column) {
  for (const SourcePiece& piece : pieces) {
    if (row < piece.rows.begin || row >= piece.rows.end) continue;
    if (column < piece.columns.begin || column >= piece.columns.end) continue;
    return (static_cast<int64_t>(piece.offset) + (row - piece.rows.begin) * piece.row_stride +
            (column - piece.columns.begin) * piece.column_stride) /
           4;
  }
  return -1;
}

DecoderSpec Spec() {
  DecoderSpec spec;
  spec.hidden_size = 4;
  spec.moe.num_experts = 3;
  spec.moe.intermediate_size = 2;
  return spec;
}

TEST_CASE("rows are selected with a step, also across pieces") {
  const std::vector<SourcePiece> halves = {RowsOf(Whole(6, 2), {0, 3}),
                                           MovedTo(RowsOf(Whole(6, 2), {3, 6}), 3, 0)};
  const auto odd = SelectRows(halves, {1, 6}, 2, 10);
  CHECK(At(odd, 10, 0) == 2);
  CHECK(At(odd, 11, 1) == 7);
  CHECK(At(odd, 12, 0) == 10);
  CHECK(At(odd, 13, 0) == -1);
}

TEST_CASE("an expert's rows come out of a tensor of all experts, transposed and every other one") {
  // [3, 4, 4]: inputs by interleaved gate and up.
  const NamePattern up{TensorRole::kExpertUp, "{}.gate_up", StoredAs::kPairs, true};
  const auto pieces = WeightPieces(Spec(), {0, TensorRole::kExpertUp, 2}, up, {Whole(12, 4)});
  CHECK(CoverExactly(pieces, 2, 4));
  for (int64_t row = 0; row < 2; ++row) {
    for (int64_t column = 0; column < 4; ++column) {
      CHECK(At(pieces, row, column) == 2 * 16 + column * 4 + 2 * row + 1);
    }
  }
}

TEST_CASE("an expert's bias is its row of a matrix, and all of them are one vector") {
  const NamePattern gate{TensorRole::kExpertGateBias, "{}.bias", StoredAs::kPairs};
  const auto one = WeightPieces(Spec(), {0, TensorRole::kExpertGateBias, 1}, gate, {Whole(3, 4)});
  CHECK(CoverExactly(one, 2, 1));
  CHECK(At(one, 0, 0) == 4);
  CHECK(At(one, 1, 0) == 6);
  const NamePattern down{TensorRole::kExpertDownBias, "{}.down_bias"};
  const auto all = WeightPieces(Spec(), {0, TensorRole::kExpertDownBias}, down, {Whole(3, 4)});
  CHECK(CoverExactly(all, 12, 1));
  CHECK(At(all, 7, 0) == 7);
}

}  // namespace
}  // namespace tessera::shard_loader
