// How matrices are held in memory: numbers of 16 or 32 bits, or small integers in groups of columns
// that share a scale.
#ifndef TESSERA_SHARD_LOADER_PLAN_WEIGHT_FORMAT_H_
#define TESSERA_SHARD_LOADER_PLAN_WEIGHT_FORMAT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "shard_loader/model/decoder_spec.h"
#include "shard_loader/model/dtype.h"
#include "shard_loader/plan/codes.h"

namespace tessera::shard_loader {

struct WeightFormat {
  WeightFormat() = default;
  WeightFormat(DType dtype) : dtype(dtype) {}  // NOLINT: a dtype is a format
  WeightFormat(Codes codes, int64_t group, DType scales)
      : dtype(scales), codes(codes), group(group) {}

  DType dtype = DType::kF32;  // of the elements; where there are codes, of the scales: 16 bits
  Codes codes = Codes::kNone;
  int64_t group = 0;  // columns, where there are codes
  // Groups begin anew at every border between lanes, so that a rank can quantise its slice alone.
  // Else at the multiples of `group` of the whole matrix, as the checkpoint has them; a border that
  // cuts a group leaves its scale on both sides.
  bool groups_restart = true;

  bool coded() const { return codes != Codes::kNone; }
  friend bool operator==(const WeightFormat&, const WeightFormat&) = default;
};

// "bf16"; "int8-g32", "int4-g128": the groups restart and the scales are bf16, as --dtype makes
// them; otherwise "-f16" and "-whole" follow, and "int4o" has minima.
std::string WeightFormatName(const WeightFormat& format);
// What WeightFormatName gives, and "int8" for groups of 64 and "int4" for groups of 32. Absent for
// anything else.
std::optional<WeightFormat> ParseWeightFormat(std::string_view name);

// What a matrix of this role is held as: embeddings and heads take 8 bits where others take 4,
// since an error there goes straight into the logits. Routers, gates of shared experts and learned
// positions are never coded.
WeightFormat FormatOfRole(const WeightFormat& format, TensorRole role);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_PLAN_WEIGHT_FORMAT_H_
