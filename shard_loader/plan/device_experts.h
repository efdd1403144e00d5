// The room that a device's mixture of experts works in, to the byte.
#ifndef TESSERA_SHARD_LOADER_PLAN_DEVICE_EXPERTS_H_
#define TESSERA_SHARD_LOADER_PLAN_DEVICE_EXPERTS_H_

#include <cstdint>

#include "shard_loader/plan/workspace.h"

namespace tessera::shard_loader {

// Of each expert that a row of the step chose: its id and its weight.
inline constexpr int64_t kDeviceChoiceBytes = 8;
// Rows of one expert that a block of threads takes together.
inline constexpr int64_t kDeviceExpertTileBytes = 12;

struct DeviceExperts {
  int64_t rows = 0;       // that pass over the experts at a time
  int64_t per_token = 0;  // experts of each
  int64_t hidden = 0;
  int64_t columns = 0;  // of an expert on the rank
  int64_t parts = 0;    // of an expert's output: the lanes within it
};

// A pair is a row and an expert that it goes to; the pairs of an expert lie together. All monotone:
// the room for more holds what there is of less.
struct DeviceExpertRoom {
  ByteSpan pair_of;    // [rows, per_token]: the choice's pair, or -1 where another rank has it
  ByteSpan pair_rows;  // [pairs]: the row
  ByteSpan tiles;      // their number in 16 bytes, then [at most one for each pair]
  ByteSpan input;      // [pairs, hidden]
  ByteSpan gate;       // [pairs, columns]
  ByteSpan up;         // likewise
  ByteSpan parts;      // [parts, pairs, hidden]
  int64_t bytes = 0;
};

DeviceExpertRoom MakeDeviceExpertRoom(const DeviceExperts& experts);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_PLAN_DEVICE_EXPERTS_H_
