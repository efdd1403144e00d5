#include "server/scheduler/fair_queue.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <tuple>

namespace tessera::server {
namespace {

struct Earlier {
  bool operator()(const FairQueue::Waiter* a, const FairQueue::Waiter* b) const {
    return std::tie(a->order, a->sequence) < std::tie(b->order, b->sequence);
  }
};

}  // namespace

class FairQueue::Tenant {
 public:
  double weight = 1;
  double served = 0;                                                            // tokens by weight
  size_t sequences = 0;                                                         // waiting or not
  std::map<int32_t, std::set<const Waiter*, Earlier>, std::greater<>> waiting;  // by priority
};

FairQueue::FairQueue(Options options) : options_(std::move(options)) {}
FairQueue::~FairQueue() = default;

double FairQueue::LeastServed() const {
  double least = std::numeric_limits<double>::infinity();
  for (const auto& [name, tenant] : tenants_) {
    if (tenant.sequences > 0) least = std::min(least, tenant.served);
  }
  return std::isinf(least) ? 0 : least;
}

FairQueue::Tenant* FairQueue::Enter(const std::string& name) {
  auto entry = tenants_.find(name);
  if (entry == tenants_.end() || entry->second.sequences == 0) {
    const double least = LeastServed();
    // What a tenant was served ahead of the others is remembered until they have caught up.
    std::erase_if(tenants_, [least](const auto& each) {
      return each.second.sequences == 0 && each.second.served <= least;
    });
    entry = tenants_.try_emplace(name).first;
    entry->second.served = std::max(entry->second.served, least);
    auto weight = options_.weights.find(name);
    if (weight != options_.weights.end()) entry->second.weight = weight->second;
  }
  ++entry->second.sequences;
  return &entry->second;
}

void FairQueue::Leave(Tenant* tenant) {
  assert(tenant->sequences > 0);
  if (--tenant->sequences > 0) return;
  // Nobody is left to compare with.
  bool alone = std::none_of(tenants_.begin(), tenants_.end(),
                            [](const auto& each) { return each.second.sequences > 0; });
  if (alone) tenants_.clear();
}

void FairQueue::Charge(Tenant* tenant, uint32_t tokens) {
  tenant->served += tokens / tenant->weight;
}

void FairQueue::Push(const Waiter* waiter) {
  size_ += waiter->tenant->waiting[waiter->priority].insert(waiter).second;
}

void FairQueue::Erase(const Waiter* waiter) {
  auto& waiting = waiter->tenant->waiting;
  auto entry = waiting.find(waiter->priority);
  if (entry == waiting.end()) return;
  size_ -= entry->second.erase(waiter);
  if (entry->second.empty()) waiting.erase(entry);
}

FairQueue::Turn FairQueue::Next(absl::Time now) const {
  int32_t top = std::numeric_limits<int32_t>::min();
  for (const auto& [name, tenant] : tenants_) {
    if (!tenant.waiting.empty()) top = std::max(top, tenant.waiting.begin()->first);
  }
  Turn best;
  double best_served = 0;
  for (const auto& [name, tenant] : tenants_) {
    for (const auto& [priority, waiters] : tenant.waiting) {
      const Waiter* first = *waiters.begin();
      const double aged = absl::FDivDuration(now - first->arrival, options_.aging);
      // Not a sum of integers: a wait may be long beyond their range.
      const auto level = static_cast<int32_t>(std::min<double>(top, priority + std::floor(aged)));
      const auto key = std::make_tuple(-int64_t{level}, tenant.served, first->order);
      if (best.waiter != nullptr &&
          key >= std::make_tuple(-int64_t{best.level}, best_served, best.waiter->order)) {
        continue;
      }
      best = {first, level};
      best_served = tenant.served;
    }
  }
  return best;
}

}  // namespace tessera::server
