// The numerics id: everything that fixes the bits of an answer beside the log, the parameters and
// the weights version. Equal id, equal bits (worker/README.md, "One answer").
#ifndef TESSERA_SHARD_LOADER_PLAN_NUMERICS_ID_H_
#define TESSERA_SHARD_LOADER_PLAN_NUMERICS_ID_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "shard_loader/model/decoder_spec.h"

namespace tessera::shard_loader {

// Goes up whenever an order of operations changes.
inline constexpr int kNumericsVersion = 1;

// Names hold letters, digits, '_', '-' and '.' only.
struct NumericsId {
  std::string kernel_set;    // "cpu-f32", "cpu-bf16-amx": those with equal bits share a name
  std::string weight_dtype;  // "f32", "bf16"; a quantisation by its name
  std::string kv_dtype;
  int lanes = 8;
  std::string expert_order = "-";  // "lanes", "experts"; "-": the model has none
  int attention_tile = 256;        // keys
  int64_t rope_context = 0;  // the deployment's context length where rope depends on it, else 0
  int version = kNumericsVersion;

  // "v1/cpu-f32/w=bf16/kv=bf16/lanes=8/experts=-/tile=256/rope=0"
  std::string ToString() const;
  // INVALID_ARGUMENT for anything that ToString() does not give.
  static absl::StatusOr<NumericsId> Parse(std::string_view text);

  friend bool operator==(const NumericsId&, const NumericsId&) = default;
};

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_PLAN_NUMERICS_ID_H_
