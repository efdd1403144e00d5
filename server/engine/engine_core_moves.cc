// How requests go from one replica to another (EngineCore).
#include <algorithm>
#include <utility>

#include "server/engine/engine_core.h"

namespace tessera::server {

Room EngineCore::NeedOf(const Live& live) const {
  auto blocks = [this](size_t tokens) {
    return static_cast<uint32_t>(tokens / facts_.block_size + 1);
  };
  if (!live.group) return {1, blocks(live.queued_tokens)};
  Room need;
  for (const auto& member : live.group->members()) {
    need.Add({1, blocks(member->log().size())});
  }
  return need;
}

Room EngineCore::room() const {
  if (!takes_others() || scheduler_->num_waiting() > 0) return {};
  Room room{facts_.max_num_seqs, static_cast<uint32_t>(scheduler_->pool().num_available())};
  // Each of those that run may need a block more.
  room.Take({scheduler_->num_resident(), scheduler_->num_resident()});
  return room;
}

bool EngineCore::OfferOne(uint64_t key, bool urgent) {
  // A suspect has been in two groups when they died; it is tried where it is.
  if (!environment_.move || suspects_.deaths(key) >= Suspects::kSuspect) return false;
  if (ready() && !suspects_.Held(key)) return false;
  const Live& live = *live_.at(key);
  const MoveOffer offer{NeedOf(live), urgent, live.group ? &live.group->request() : &*live.request};
  return environment_.move(offer, [this, key] { return Leave(key); });
}

void EngineCore::Offer(bool urgent) {
  uint64_t moved = 0;
  for (uint64_t key : Keys()) moved += OfferOne(key, urgent);
  if (!ready()) environment_.losses->Moved(moved);
}

MovedRequest EngineCore::Leave(uint64_t key) {
  auto it = live_.find(key);
  MovedRequest moved{.key = key, .deaths = suspects_.deaths(key), .live = std::move(it->second)};
  live_.erase(it);
  Live& live = *moved.live;
  deadlines_.erase({std::exchange(live.wake, absl::InfiniteFuture()), key});
  const bool queued = live.queued;
  LeaveQueue(live);
  live.queued = queued;
  if (live.group) {
    for (const auto& member : live.group->members()) Forget(*member);
    live.group->LoseWorkers();
  }
  if (suspects_.Ended(key)) UpdatePaused();
  return moved;
}

void EngineCore::Adopt(MovedRequest moved) {
  const uint64_t key = moved.key;
  std::unique_ptr<Live>& slot = live_[key];
  slot = std::move(moved.live);
  Live& live = *slot;
  live.stream->SetDrained([this, key] { environment_.on_drained(key); });
  // Its reader may have told the other replica, on the way.
  if (live.paused_since && !live.stream->full()) live.paused_since.reset();
  SetWake(key, live);
  suspects_.Arrived(key, moved.deaths);
  if (live.queued) EnterQueue(live);
  if (closed_) return End(key, *closed_);
  if (ready()) return Admit(key, live);
  OfferOne(key, /*urgent=*/false);
}

}  // namespace tessera::server
