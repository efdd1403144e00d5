// Who of those that wait is next: priorities, shares of tenants, arrival.
#ifndef TESSERA_SERVER_SCHEDULER_FAIR_QUEUE_H_
#define TESSERA_SERVER_SCHEDULER_FAIR_QUEUE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/time/time.h"

namespace tessera::server {

// The turn goes to the highest priority; in it, to the tenant that has been served the least for
// its weight; in it, to the first that came. Waiting counts as priority: one level for every
// `aging`, up to the highest that waits, so that nobody is overtaken for ever. A tenant that comes
// anew begins where the least served of the others stands: idling saves nothing up (Sheng et al.,
// "Fairness in Serving Large Language Models", 2024, algorithm 2). Owned by one thread.
class FairQueue {
 public:
  struct Options {
    absl::Duration aging = absl::Seconds(10);
    std::map<std::string, double> weights;  // of tenants; 1 where none is given
  };
  class Tenant;
  // One sequence that may wait. Its owner keeps it unchanged while it does.
  struct Waiter {
    uint64_t sequence = 0;
    uint64_t order = 0;  // of arrival; forks have their origin's
    int32_t priority = 0;
    absl::Time arrival;
    Tenant* tenant = nullptr;
  };
  struct Turn {
    const Waiter* waiter = nullptr;  // null: nobody waits
    int32_t level = 0;               // its priority now
  };

  explicit FairQueue(Options options);
  ~FairQueue();

  // A sequence of a tenant comes, and goes: in between, what is computed for it is counted.
  Tenant* Enter(const std::string& name);
  void Leave(Tenant* tenant);
  // `tokens` are computed for a tenant.
  static void Charge(Tenant* tenant, uint32_t tokens);

  void Push(const Waiter* waiter);
  void Erase(const Waiter* waiter);
  Turn Next(absl::Time now) const;
  size_t size() const { return size_; }

 private:
  // Of tenants with sequences; 0 where there are none.
  double LeastServed() const;

  const Options options_;
  std::map<std::string, Tenant> tenants_;
  size_t size_ = 0;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_SCHEDULER_FAIR_QUEUE_H_
