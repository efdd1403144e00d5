// The integers that a coded matrix is held as (weight_format.h).
#ifndef TESSERA_SHARD_LOADER_PLAN_CODES_H_
#define TESSERA_SHARD_LOADER_PLAN_CODES_H_

namespace tessera::shard_loader {

// An element is code * scale, with a scale for each row and group of columns.
enum class Codes {
  kNone,        // not coded: elements of `dtype`
  kInt8,        // -128 to 127
  kInt4,        // -8 to 7
  kInt4Offset,  // 0 to 15, plus a minimum (fp32) for each row and group
};

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_PLAN_CODES_H_
