#include "shard_loader/plan/device_experts.h"

#include "shard_loader/plan/rounding.h"

namespace tessera::shard_loader {

DeviceExpertRoom MakeDeviceExpertRoom(const DeviceExperts& experts) {
  constexpr int64_t kWord = 4;
  constexpr int64_t kAlignment = 256;
  const int64_t pairs = experts.rows * experts.per_token;
  DeviceExpertRoom room;
  const auto take = [&room](int64_t bytes) {
    const ByteSpan span{room.bytes, bytes};
    room.bytes += RoundUp(bytes, kAlignment);
    return span;
  };
  room.pair_of = take(pairs * kWord);
  room.pair_rows = take(pairs * kWord);
  room.tiles = take(16 + pairs * kDeviceExpertTileBytes);
  room.input = take(pairs * experts.hidden * kWord);
  room.gate = take(pairs * experts.columns * kWord);
  room.up = take(pairs * experts.columns * kWord);
  room.parts = take(experts.parts * pairs * experts.hidden * kWord);
  return room;
}

}  // namespace tessera::shard_loader
