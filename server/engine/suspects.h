// Finds the request that kills its workers, among those that die with it.
#ifndef TESSERA_SERVER_ENGINE_SUSPECTS_H_
#define TESSERA_SERVER_ENGINE_SUSPECTS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

namespace tessera::server {

// A request that was in an unfinished step when the group died has seen a death; a token that it
// gains clears it. From two deaths on it is a suspect. While there are suspects, half of the most
// suspicious ones are on trial and all other requests are held back, so that a death says something
// about those on trial alone; each that gains a token is cleared. One that is on trial alone and
// dies is the poisonous one: at its third death or later. Pure; thread-compatible.
class Suspects {
 public:
  static constexpr uint32_t kSuspect = 2;  // deaths
  static constexpr uint32_t kGuilty = 3;

  // The group died with these requests in unfinished steps. Returns the one to give up, if any; it
  // is forgotten.
  std::optional<uint64_t> Died(const std::vector<uint64_t>& in_steps);
  // A request comes that has seen fewer deaths elsewhere than make a suspect.
  void Arrived(uint64_t request, uint32_t deaths) {
    if (deaths > 0) deaths_[request] = deaths;
  }
  // True where other requests may run now than before: ask Held again.
  bool Gained(uint64_t request) { return Clear(request); }
  bool Ended(uint64_t request) { return Clear(request); }

  // The request must not run now.
  bool Held(uint64_t request) const { return !on_trial_.empty() && on_trial_.count(request) == 0; }
  bool trying() const { return !on_trial_.empty(); }
  uint32_t deaths(uint64_t request) const {
    auto it = deaths_.find(request);
    return it == deaths_.end() ? 0 : it->second;
  }

 private:
  bool Clear(uint64_t request);
  void ChooseTrial();

  std::map<uint64_t, uint32_t> deaths_;  // with no token since; none that has seen none
  std::set<uint64_t> on_trial_;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_ENGINE_SUSPECTS_H_
